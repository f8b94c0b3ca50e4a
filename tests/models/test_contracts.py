"""Every registered class fulfils its contract: kind, family, config, methods with the contract's parameters."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass

import pytest

from mld.config import to_plain, typed
from mld.errors import ConfigError
from mld.models.contracts.evaluator import MotionEvaluator
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.contracts.network import Network
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.registry import FAMILIES, find

CONTRACTS = {"tokenizer": MotionTokenizer, "generator": MotionGenerator, "evaluator": MotionEvaluator}
REGISTERED = [(kind, family) for kind in CONTRACTS for family in FAMILIES[kind]]


def _parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(("kind", "family"), REGISTERED, ids=lambda value: value)
def test_a_registered_class_fulfils_its_contract(kind: str, family: str) -> None:
    contract, cls = CONTRACTS[kind], find(kind, family)
    assert issubclass(cls, contract) and not inspect.isabstract(cls)
    assert (cls.kind, cls.family) == (kind, family)
    config = cls.Config()
    assert dataclasses.is_dataclass(config) and typed(cls.Config, to_plain(config), "here") == config
    for name, theirs in inspect.getmembers(contract, lambda one: inspect.isfunction(one) or inspect.ismethod(one)):
        own = getattr(cls, name)
        if not name.startswith("_") and own is not theirs and name in {*vars(contract), *vars(Network)}:
            wanted, given = _parameters(theirs), _parameters(own)
            assert given[: len(wanted)] == wanted, f"{name}{inspect.signature(own)} is called as {wanted}"
    if kind == "generator":
        assert cls.answers and all(isinstance(shape, Shape) for shape in cls.answers)
        assert "tokenizer" in cls.needs


def test_a_class_that_breaks_its_contract_is_refused_when_it_is_defined() -> None:
    @dataclass
    class Config:
        size: int = 1

    def whole(**more):
        methods = dict.fromkeys(("create", "restore", "adopt", "loss", "prompt"), lambda self: None)
        return {"Config": Config, **methods, **more}

    motion, words = frozenset({Shape("motion")}), frozenset({Shape("text", 1)})
    for members, message in (
        (whole(), "says in `answers`"),
        (whole(answers=motion), "has `start` or `denoise`"),
        (whole(answers=words, start=lambda self: None), "has `start` and `read_text`"),
        ({**whole(answers=motion, denoise=lambda self: None), "Config": object}, "a dataclass named Config"),
    ):
        with pytest.raises(TypeError, match=message):
            type("Broken", (MotionGenerator,), members, family="broken")
    type("Whole", (MotionGenerator,), whole(answers=motion, denoise=lambda self: None), family="whole")


def test_unknown_kinds_and_families_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vqvae'"):
        find("tokenizer", "vqave")
    with pytest.raises(ConfigError, match="no kind of network 'generatr'; did you mean 'generator'"):
        find("generatr", "x")
