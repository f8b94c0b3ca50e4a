"""Settings that a published file does not tell, as a user gives them: "key.sub=value"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mld.errors import ConfigError


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
