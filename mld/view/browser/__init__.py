"""The browser viewer: one offline HTML file that plays motions in 3D.

`page.py` assembles the file, `payload.py` turns motions into its data, `web/` is the page itself (HTML, CSS, JavaScript
modules), `vendor/` is three.js, unchanged.
"""

from mld.view.browser.item import ViewItem, with_downloads
from mld.view.browser.page import save_viewer, viewer_html, viewer_iframe

__all__ = ["ViewItem", "save_viewer", "viewer_html", "viewer_iframe", "with_downloads"]
