"""The stage: the 3D viewer with the downloads under it, as a page inside the page."""

from __future__ import annotations

import html
from functools import lru_cache
from pathlib import Path

from mld.serve.page.chat import words
from mld.serve.results import Result
from mld.view.browser import viewer_html

WEB = Path(__file__).parent / "web"
KINDS = {  # what each kind of file is good for, in the order of the page
    "bvh": "animation for Blender, Maya, MotionBuilder",
    "glb": "skinned body and animation for engines and browsers",
    "gltf": "the same as text",
    "npz": "SMPL parameters, AMASS layout",
    "csv": "root and joint quaternions, one row a frame",
    "json": "joints and rotations as text",
    "npy": "joints (T, 22, 3) in metres for numpy",
    "mp4": "video",
    "gif": "moving picture",
    "png": "contact sheet",
    "html": "this 3D view as a file of its own",
}
NAMED = ("bvh", "glb", "gltf", "csv")  # kinds with joint names of a choice


def frame(key: str) -> str:
    """The frame that shows a result; before the first one, an empty stage."""
    if not key:
        return '<div class="stage empty"><p>Motions play here</p></div>'
    return f'<iframe class="stage" name="stage" title="Stage" src="motions/{key}/stage" allow="fullscreen"></iframe>'


def kinds() -> list[str]:
    """Every kind of file that a motion can be saved as."""
    import mld.view.files  # noqa: F401  (adds the pictures)
    from mld.motion.formats import suffixes

    known = [suffix.lstrip(".") for suffix in suffixes()]
    return [kind for kind in KINDS if kind in known] + sorted(set(known) - set(KINDS))


def page(result: Result) -> str:
    """The stage page of a result."""
    stems = [item.stem for item in result.items]
    choices = "".join(
        f'<option value="{number}" data-stem="{stem}">{words(item.label or f"motion {number + 1}")}</option>'
        for number, (item, stem) in enumerate(zip(result.items, stems))
    )
    links = "".join(
        f'<a data-kind="{kind}" {"data-named " if kind in NAMED else ""}href="0/{stems[0]}.{kind}" download '
        f'title="{html.escape(KINDS.get(kind, ""))}">{kind.upper()}</a>'
        for kind in kinds()
    )
    parts = {
        "TITLE": words(result.title), "LINKS": links, "CHOICES": choices,
        "SEVERAL": "" if len(stems) > 1 else "hidden",
        "STYLE": _read("stage.css"), "SCRIPT": _read("stage.js"),
    }  # fmt: skip
    return _filled(_read("stage.html"), parts)


def view(result: Result) -> str:
    """The viewer of a result, for the frame on the stage page."""
    return viewer_html(result.items, result.title, embed=True)


def gone() -> str:
    """What is shown for a result that is no longer kept."""
    return _filled(_read("gone.html"), {"STYLE": _read("stage.css")})


@lru_cache
def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _filled(template: str, parts: dict[str, str]) -> str:
    before, *slots = template.split("{{")
    return before + "".join(parts[name] + rest for name, _, rest in (slot.partition("}}") for slot in slots))
