"""The start of the page: behind proxies, and where packages are missing or broken."""

from __future__ import annotations

import os
import sys

import httpx
import pytest

from mld.errors import MldError
from mld.serve.page import server
from mld.serve.studio import Studio
from tests.serve.visitors import served

pytest.importorskip("gradio.routes", reason="the extra 'ui' is not installed")


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense://[["])
def test_a_proxy_is_not_asked_for_this_machine(studio: Studio, monkeypatch, proxy: str) -> None:
    names = ("http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    for name in names:
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with served(studio) as address:
        assert httpx.get(f"{address}/config", trust_env=False).status_code == 200
    assert [os.environ[name] for name in names] == [proxy] * 4, "models of the hub still come through the proxy"


@pytest.mark.parametrize(("error", "said"), [
    (ModuleNotFoundError("No module named 'gradio'", name="gradio"), "'gradio', which is not installed"),
    (ModuleNotFoundError("No module named 'orjson'", name="orjson"), "a package that it needs is not: orjson"),
    (ImportError("Using SOCKS proxy,\nbut ..."), "cannot be opened: Using SOCKS proxy, but"),
])  # fmt: skip
def test_only_a_missing_package_is_called_missing(monkeypatch, error: ImportError, said: str) -> None:
    class Broken:
        def find_spec(self, name, *about):
            if name == "gradio":
                raise error

    monkeypatch.delitem(sys.modules, "gradio")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MldError) as told:
        server.require()
    assert said in str(told.value) and "\n" not in str(told.value)
