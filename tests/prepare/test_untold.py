"""What names and shapes of a checkpoint do not tell is asked for, unless it is of a published size."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.errors import CheckpointError
from mld.models.conversion.settings import settled
from mld.models.evaluators.tmr import convert as tmr
from mld.models.families.motiongpt import convert as motiongpt
from mld.models.families.motiongpt3 import convert as motiongpt3
from mld.models.families.motiongpt3 import convert_vae
from mld.models.families.motiongpt3.config import MotionGPT3Config
from mld.models.tokenizers.vae import MotionVAEConfig
from tests.models.tiny import tiny_motiongpt, tiny_vqvae
from tests.prepare.test_convert import lightning_file, published_lm, published_vae, stats, words  # noqa: F401

FILE = Path("weights.ckpt")
GPT2 = {"lm.architecture.n_head", "lm.architecture.activation_function"}
T5 = {"lm.architecture.feed_forward_proj", "lm.architecture.relative_attention_max_distance"}


def of_motiongpt3() -> dict:
    config = MotionGPT3Config()
    config.lm.architecture = {"n_embd": 768, "n_head": 12}
    return motiongpt3._untold(config)


UNTOLD = {
    "vqvae": (motiongpt.VQVAE_UNTOLD, {"tokenizer.config.activation", "tokenizer.config.dilation_growth_rate"}),
    "t5": (motiongpt._untold(tiny_motiongpt("t5").lm.state_dict(), ())[0], T5),
    "gpt2": (motiongpt._untold(tiny_motiongpt("gpt2").lm.state_dict(), ())[0], GPT2),
    "vae": (convert_vae.UNTOLD, {"num_heads", "activation", "norm_first"}),
    "tmr": (tmr.UNTOLD, {"num_heads"}),
    "motiongpt3": (of_motiongpt3(), {
        *GPT2, "lm.architecture.attention_mode",
        "head.num_pooling_heads", "head.noise_schedule", "head.diffusion_steps",
        "tokenizer.config.num_heads", "tokenizer.config.activation", "tokenizer.config.norm_first",
    }),
}  # fmt: skip


@pytest.mark.parametrize("importer", UNTOLD)
def test_each_setting_is_asked_for_on_its_own(importer: str) -> None:
    untold, names = UNTOLD[importer]
    assert set(untold) == names
    values = {key: 1 if value is None else value for key, value in untold.items()}
    for key in names:
        others = [f"{other}={values[other]}" for other in names - {key}]
        with pytest.raises(CheckpointError, match=rf"do not tell {key.split('.')[-1]}; give --set {key}=") as error:
            settled(untold, others, FILE, [], published=False)
        assert len(str(error.value)) <= 300
    settled(untold, [f"{key}={value}" for key, value in values.items()], FILE, notes := [], published=False)
    assert not notes


@pytest.mark.parametrize("importer", UNTOLD)
def test_published_sizes_and_a_request_take_the_published_values_and_say_so(importer: str) -> None:
    untold = {key: value or 1 for key, value in UNTOLD[importer][0].items()}
    for how in ({"published": True}, {"published": False, "as_published": True}):
        settled(untold, (), FILE, notes := [], **how)
        assert all(key in notes[0] for key in untold)
    with pytest.raises(CheckpointError, match="weights.ckpt: not of a published size") as error:
        settled(untold, (), FILE, [], published=False)
    assert len(str(error.value)) <= 300


def test_heads_that_are_not_of_64_are_never_guessed() -> None:
    assert UNTOLD["gpt2"][0]["lm.architecture.n_head"] is None
    with pytest.raises(CheckpointError, match="lm.architecture.n_head"):
        settled(UNTOLD["gpt2"][0], (), FILE, [], published=True, as_published=True)


@pytest.mark.parametrize("changes", [{"activation": "silu"}, {"dilation_growth_rate": 2}])
def test_a_variant_is_not_taken_for_the_published_one(tmp_path, stats, changes) -> None:  # noqa: F811
    model = tiny_vqvae(**changes)
    file = lightning_file(tmp_path / "vq.tar", published_vae(model))
    with pytest.raises(CheckpointError, match="do not tell activation, dilation_growth_rate"):
        motiongpt.import_motiongpt(file, stats)
    told = [f"tokenizer.config.{key}={changes.get(key, value)}"
            for key, value in (("activation", "relu"), ("dilation_growth_rate", 3))]  # fmt: skip
    assert motiongpt.import_motiongpt(file, stats, settings=told)[0].config.activation == model.config.activation


def test_a_language_model_is_asked_about_as_well(tmp_path, stats, words) -> None:  # noqa: F811
    model = tiny_motiongpt()
    file = lightning_file(tmp_path / "lm.ckpt", {**published_vae(model.tokenizer), **published_lm(model)})
    told = [f"{key}={value}" for key, value in motiongpt.VQVAE_UNTOLD.items()]
    with pytest.raises(CheckpointError, match="do not tell feed_forward_proj, relative_attention_max_distance"):
        motiongpt.import_motiongpt(file, stats, text_tokenizer=words, settings=told)


def test_published_sizes_are_known() -> None:
    """Flan-T5-base of the released MotionGPT, the VAE of MLD, and GPT-2 small."""
    assert (768, 2048) in motiongpt.PUBLISHED_WIDTHS["t5"] and 768 in motiongpt.PUBLISHED_WIDTHS["gpt2"]
    assert convert_vae.is_published(MotionVAEConfig()) and not convert_vae.is_published(MotionVAEConfig(ff_size=512))
