"""Sizes that no network can have are refused with their name, in a config file as in a model folder."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from mld.config import typed
from mld.engine.options import set_sampling
from mld.errors import ConfigError
from mld.models.backbones.gpt2 import GPT2Backbone
from mld.models.backbones.mot_gpt2 import MoTGPT2
from mld.models.backbones.t5 import T5Backbone
from mld.models.evaluators.guo.model import GuoConfig
from mld.models.evaluators.tmr.model import TMRConfig
from mld.models.families.motiongpt3.config import MotionGPT3Config
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.generation import GenerationSettings
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.registry import find
from mld.models.tokenizers.vae import MotionVAEConfig


@pytest.mark.parametrize(
    ("schema", "values", "message"),
    [
        (GuoConfig, {"movement_hidden": -1}, "movement_hidden is -1, expected a whole number from 1 on"),
        (GuoConfig, {"nfeats": -1}, "nfeats is -1, expected a whole number from 0 on"),
        (GuoConfig, {"dropout": 1.5}, "dropout is 1.5, expected a number between 0 and 1"),
        (GuoConfig, {"text_hidden": 10**30}, "text_hidden is 1000000000000000000000000000000"),
        (TMRConfig, {"ff_size": 0}, "ff_size is 0"),
        (TMRConfig, {"num_heads": 3}, "latent_dim 256 is not a multiple of num_heads 3"),
        (DiffusionHeadConfig, {"pooling_dropout": float("nan")}, "pooling_dropout is nan"),
        (DiffusionHeadConfig, {"depth": 0}, "depth is 0"),
        (MotionVAEConfig, {"max_positions": -5}, "max_positions is -5"),
        (GenerationSettings, {"temperature": 0}, "temperature is 0.0, expected a number above 0; do_sample=false"),
        (GenerationSettings, {"temperature": float("nan")}, "temperature is nan"),
        (GenerationSettings, {"top_p": 0}, "top_p is 0.0"),
        (GenerationSettings, {"top_k": -1}, "top_k -1"),
        (GenerationSettings, {"max_length": 0}, "max_length is 0"),
        (GenerationSettings, {"repetition_penalty": 0}, "repetition_penalty is 0.0"),
        (MotionStreamerConfig, {"temperature": -1}, "temperature is -1.0, expected a number from 0 on"),
        (MotionStreamerConfig, {"guidance_scale": float("inf")}, "guidance_scale is inf"),
    ],
)
def test_sizes_of_parts(schema: type, values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        typed(schema, values, "file.yaml")
    assert str(caught.value).startswith("file.yaml: ") and "\n" not in str(caught.value)


COMPLETE = {
    "t5": lambda sizes: T5Backbone.complete(sizes, 100),
    "gpt2": lambda sizes: GPT2Backbone.complete(sizes, 100),
    "mot": lambda sizes: MoTGPT2.complete(sizes, 100, 0),
}


@pytest.mark.parametrize(
    ("backbone", "sizes", "message"),
    [
        ("t5", {"d_modle": 3}, "unknown ['d_modle']"),
        ("t5", {"d_model": -1}, "lm.architecture.d_model is -1, expected a whole number from 1 on"),
        ("t5", {"d_ff": 2.5}, "lm.architecture.d_ff is 2.5"),
        ("t5", {"num_layers": None}, "lm.architecture.num_layers is None"),
        ("t5", {"dropout_rate": 3}, "lm.architecture.dropout_rate is 3, expected a number between 0 and 1"),
        ("t5", {"feed_forward_proj": "x"}, "lm.architecture.feed_forward_proj 'x' is not one of"),
        ("t5", {"scale_decoder_outputs": 1}, "lm.architecture.scale_decoder_outputs is 1, expected true or false"),
        ("gpt2", {"n_positions": 2**70}, "lm.architecture.n_positions is"),
        ("gpt2", {"n_head": 3}, "n_embd 256 is not a multiple of n_head 3"),
        ("gpt2", {"activation_function": "x"}, "lm.architecture.activation_function 'x' is not one of"),
        ("mot", {"n_head": 0}, "lm.architecture.n_head is 0"),
        ("mot", {"n_inner": -1}, "lm.architecture.n_inner is -1"),
        ("mot", {"motion_pad_id": "x"}, "lm.architecture.motion_pad_id is 'x', expected a whole number from 0 on"),
        ("mot", {"initializer_range": -1}, "lm.architecture.initializer_range is -1, expected a number from 0 on"),
    ],
)
def test_sizes_of_language_models(backbone: str, sizes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        COMPLETE[backbone](sizes)


@pytest.mark.parametrize("backbone", COMPLETE)
def test_what_a_model_saved_of_its_sizes_is_taken_back(backbone: str) -> None:
    found = COMPLETE[backbone]({})
    assert COMPLETE[backbone]({name: size for name, size in found.items() if name != "vocab_size"}) == found


@pytest.mark.parametrize(("kind", "family"), [([], "vae"), ({}, "vae"), ("tokenizer", []), ("tokenizer", None)])
def test_what_is_no_name_of_a_family(kind, family) -> None:
    with pytest.raises(ConfigError, match="known: "):
        find(kind, family)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", -1.0), ("temperature", float("nan")), ("guidance_scale", -2)]
)
def test_factors_of_sampling_are_checked_before_a_call(name: str, value: float) -> None:
    model = SimpleNamespace(config=MotionGPT3Config(), adopt=lambda config: pytest.fail("taken"))
    with pytest.raises(ConfigError, match=f"{name} is .*, expected a number from 0 on"):
        set_sampling(model, {name: value})
