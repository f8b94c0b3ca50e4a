"""Where the configs, demos and bundled models are: in a clone beside the package, in an installed wheel inside it.

Users of a clone read and edit `configs/` and `demos/` at the top of the repository; `setup.py` lays copies of both into
the wheel. A command asks here and does not know the difference.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ASSETS = PACKAGE / "assets"


def configs() -> Path:
    """The folder of the configs that come with the package."""
    return _folder("configs")


def demos() -> Path:
    """The folder of the request files and motions that come with the package."""
    return _folder("demos")


def bundled_models() -> dict[str, Path]:
    """Folders of the models that come with the package, by name: that of the folder."""
    return {file.parent.name: file.parent for file in sorted(ASSETS.rglob("config.yaml"))}


def config_names() -> list[str]:
    """The configs that come with the package, as `find_config` takes them: "quickstart/all", ..."""
    folder = configs()
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.glob("*/*.yaml"))


def find_config(name: str | Path) -> Path:
    """The config file of that path; where there is none, the packaged one of that name.

    "quickstart/all", "quickstart/all.yaml" and "configs/quickstart/all.yaml" name the same packaged file. A name that
    is neither is given back as it is: reading it fails with the nearest names."""
    path = Path(name)
    if path.is_file() or path.is_absolute():
        return path
    inside = path.relative_to("configs") if path.parts[:1] == ("configs",) else path
    for known in (inside, inside.with_name(f"{inside.name}.yaml")):
        if ".." not in known.parts and (configs() / known).is_file():
            return configs() / known
    return path


def _folder(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
