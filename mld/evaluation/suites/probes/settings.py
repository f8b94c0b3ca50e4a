"""What a run of probes is told to do."""

from __future__ import annotations

from dataclasses import dataclass

from mld.evaluation.suites.settings import SuiteSettings


@dataclass(frozen=True, kw_only=True)
class ProbeSettings(SuiteSettings):
    """samples: motions of each prompt, from seeds of their own. groups: of prompts that count, none for all."""

    samples: int = 4
    groups: tuple[str, ...] = ()
