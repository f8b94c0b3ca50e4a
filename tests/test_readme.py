"""What README and docs say is there: linked files, named modules, configs, request files and options of commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from mld.packaged import find_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
MADE = ("echo/",)  # by an example of CONTRIBUTING.md


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXTS[page]):
        if "://" not in link:
            assert ((ROOT / page).parent / link).exists(), f"{page} links to {link}"


@pytest.mark.parametrize("page", TEXTS)
def test_commands_exist(page: str) -> None:
    text = TEXTS[page]
    for module in re.findall(r"python -m ((?:prepare|tasks)\.[a-z_]+|train|test|app|demo)\b", text):
        assert importlib.util.find_spec(module) is not None, f"{page}: python -m {module}"
    for script in re.findall(r"python ([a-z_]+\.py)\b", text):
        assert (ROOT / script).is_file(), f"{page}: python {script}"
    for tool in re.findall(r"mld prepare ([a-z_]+)", text):
        assert (ROOT / "prepare" / f"{tool}.py").is_file(), f"{page}: mld prepare {tool}"


@pytest.mark.parametrize("page", TEXTS)
def test_configs_exist(page: str) -> None:
    named = re.findall(r"--cfg ([\w/]+(?:\.yaml)?)", TEXTS[page])
    for config in (name for name in named if not name.isupper()):  # FILE is for the reader to fill in
        if not any(made in config for made in MADE):
            assert find_config(config).is_file(), f"{page}: --cfg {config}"


def test_request_files_exist() -> None:
    named = [name for text in TEXTS.values() for name in re.findall(r"--example (demos/[\w.]+)", text)]
    assert named and all((ROOT / name).is_file() for name in named)
