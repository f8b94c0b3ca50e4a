"""Settings that a published file does not tell, as a user gives them: "key.sub=value"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mld.errors import CheckpointError, ConfigError

SHOWN = 4  # settings named in a line


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


def _yaml(value: Any) -> str:
    return "?" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
