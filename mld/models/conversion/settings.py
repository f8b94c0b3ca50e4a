"""Settings that a published file does not tell, as a user gives them: "key.sub=value"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mld.errors import CheckpointError, ConfigError
from mld.files import parse_json
from mld.reading import read_text

SHOWN = 4  # settings named in a line
HEADS = ("n_head", "num_heads", "heads", "num_attention_heads")  # what descriptions call the number of heads


def overridden(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Nested `values` with "key.sub=value" settings put in; values are YAML."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for setting in settings:
        if not re.match(r"[\w.]+=", setting):
            raise ConfigError(f"setting '{setting}' is not KEY=VALUE")
    try:
        merged = OmegaConf.merge(OmegaConf.create(dict(values)), OmegaConf.from_dotlist(list(settings)))
        return OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"settings {' '.join(settings)}: {str(error).splitlines()[0]}") from error


def settled(
    untold: Mapping[str, Any], settings: Sequence[str], file: Path, notes: list[str], published: bool,
    as_published: bool = False,
) -> None:  # fmt: skip
    """Names and shapes do not tell `untold`: key -> published value, None where there is none. What `settings` does not
    say is as published in a file of published sizes, or on request, and noted; else asked for.

    `CheckpointError` names what is asked for, with all values above the line."""
    given = {setting.split("=", 1)[0] for setting in settings}
    open_ = {key: value for key, value in untold.items() if key not in given}
    unknown = [key for key, value in open_.items() if value is None]
    values = " ".join(f"{key}={_yaml(value)}" for key, value in open_.items())
    if unknown or (open_ and not (published or as_published)):
        asked = unknown or list(open_)
        names = ", ".join(list(dict.fromkeys(key.split(".")[-1] for key in asked))[:SHOWN])
        names += f" and {len(asked) - SHOWN} more" if len(asked) > SHOWN else ""
        other = "" if unknown else " or --as-published"
        advice = f"not of a published size, and shapes do not tell {names}; give --set {asked[0]}=...{other}"
        raise CheckpointError(f"{file}: {advice}", f"not told by {file}, with published values: --set {values}")
    if open_:
        notes.append(f"not in the file, as published (--set changes it): {values}")


def told_beside(path: Path, names: Sequence[str]) -> int | None:
    """The whole number under one of these names in a description (JSON) beside weights; none where nothing tells."""
    if not path.is_file():
        return None
    try:
        content = parse_json(read_text(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not readable as JSON ({str(error)[:80]})") from error
    return _first_of(content, names) if isinstance(content, dict) else None


def _first_of(content: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The first whole number under one of these names, here or in the parts."""
    for name in names:
        if isinstance(value := content.get(name), int) and not isinstance(value, bool):
            return value
    parts = (part for part in content.values() if isinstance(part, dict))
    return next((found for part in parts if (found := _first_of(part, names)) is not None), None)


def _yaml(value: Any) -> str:
    return "?" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
