"""What tokenizers, generators and evaluators share: a family, a typed config, parts, and a description of it all.

A class names its family when it is defined (`class Mine(MotionGenerator, family="mine")`) and the definition
fails when the contract is not met. Networks take and give raw features: they hold their statistics in buffers.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from mld.models.contracts.published import PublishedTest

Parts = Mapping[str, Any]  # "tokenizer": a MotionTokenizer, "text": a TextEncoder


class Network(nn.Module, ABC):
    """config: an instance of `Config`, the family's dataclass; with `parts` it rebuilds the architecture, offline.

    needs: names of the parts that the network is made over; each is an attribute of that name. may_have: parts that it
    can be made over as well, attributes that are None without. published_test: how the published tests run, where that
    is not as usual."""

    kind: ClassVar[str] = ""
    family: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    may_have: ClassVar[tuple[str, ...]] = ()
    published_test: ClassVar[PublishedTest | None] = None
    Config: ClassVar[type]
    config: Any

    def __init_subclass__(cls, family: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not family:
            return
        if not dataclasses.is_dataclass(getattr(cls, "Config", None)):
            raise TypeError(f"{cls.__name__}: a family needs a dataclass named Config")
        if not cls.kind:
            raise TypeError(f"{cls.__name__}: derive from MotionTokenizer, MotionGenerator or MotionEvaluator")
        cls.family = family

    @classmethod
    @abstractmethod
    def restore(cls, config: Any, parts: Parts, folder: Path | None = None) -> Network:
        """The architecture of `config` over `parts`, weights yet to be loaded; `folder` holds text-tokenizer files, if
        any."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        first = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def parts(self) -> dict[str, Any]:
        """What the network was made over, by name."""
        own = {name: getattr(self, name) for name in self.needs}
        return own | {name: part for name in self.may_have if (part := getattr(self, name)) is not None}

    def describe(self) -> dict[str, Any]:
        """What rebuilds the architecture, in plain values: kind, family, config, and the same of each part."""
        found = {"kind": self.kind, "family": self.family, "config": dataclasses.asdict(self.config)}
        return found | ({"parts": {name: part.describe() for name, part in self.parts.items()}} if self.needs else {})

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that are trained, by the name of a group that may have optimizer settings of its own."""
        return {"all": [parameter for parameter in self.parameters() if parameter.requires_grad]}

    def save_assets(self, folder: Path) -> None:
        """Write what is not a tensor (text-tokenizer files) into a model folder. Nothing by default."""
