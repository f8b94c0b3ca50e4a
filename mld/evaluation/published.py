"""Mode "upstream" for families whose published tests run in a way of their own (`PublishedTest`)."""

from __future__ import annotations

from dataclasses import replace

from mld.data.config import DataConfig
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
from mld.models.contracts.published import PublishedTest


def published_test_of(subject: Subject) -> PublishedTest | None:
    """The published test of the model, or of a tokenizer alone; None where nothing is said of it."""
    return getattr(subject.engine, "model", subject.engine).published_test


def as_tested(data: DataConfig, settings: Settings, test: PublishedTest) -> tuple[DataConfig, Settings]:
    """What clips are taken and how they are counted; how many replications there are is left to the caller."""
    shortest = data.shortest() if test.min_frames is None else test.min_frames
    longest = data.max_frames if test.max_frames is None else test.max_frames
    data = replace(data, min_frames=shortest, max_frames=longest, unit_length=test.unit)
    settings = replace(
        settings, captions="random", crop="coin", length="model" if test.open_length else settings.length,
        whole_groups=test.whole_groups, no_diversity=test.no_diversity,
    )  # fmt: skip
    return data, settings


def told(data: DataConfig, settings: Settings) -> str:
    """The changed settings in one line."""
    parts = [f"{data.shortest()} to {data.max_frames} frames", f"crops in units of {data.unit_length}"]
    parts += ["the model ends its motions"] if settings.length == "model" else []
    parts += ["whole groups of clips only"] if settings.whole_groups else []
    parts += ["Diversity is 0 by construction"] if settings.no_diversity else []
    return f"mode upstream, as this family was tested: {', '.join(parts)}"


def counts(settings: Settings, subject: Subject, replications: int | None, multimodality: int | None) -> Settings:
    """The settings with the published number of replications, and no repeats of captions, where a user named none."""
    test = published_test_of(subject) if settings.mode == "upstream" else None
    if test is None:
        return settings
    return replace(
        settings, replications=settings.replications if replications is not None else test.replications,
        multimodality=settings.multimodality if multimodality is not None else 0,
    )  # fmt: skip
