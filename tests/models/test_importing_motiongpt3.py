"""Import of published MotionGPT3 checkpoints and VAEs, on files in the published layout."""

from __future__ import annotations

import pytest
import torch

from mld.errors import CheckpointError, ConfigError, DataError
from mld.models.backbones.mot_gpt2 import MoTGPT2
from mld.models.families.motiongpt3.convert import import_motiongpt3
from mld.models.families.motiongpt3.convert_vae import import_vae
from mld.models.families.motiongpt3.export import published_state, settings_of
from mld.models.families.motiongpt3.model import MotionUndHead
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.heads.diffusion_network import ConditionPooling, DenoisingNetwork
from mld.models.positions import SinusoidalPositions
from mld.models.tokenizers.vae import MotionVAE, MotionVAEConfig
from tests.models.published_motiongpt3 import (
    COPIES,
    RUBBISH,
    SETTINGS,
    TABLE,
    changed,
    published,
    published_vae,
    source,
    write,
    write_statistics,
)
from tests.models.tiny import features, tiny_motiongpt3, tiny_vae
from tests.parity.harness import all_cases
from tests.parity.runners.motiongpt3_lm import byte_tokenizer

VAE_SETTINGS = ["num_heads=2", "dropout=0.0"]


@pytest.fixture(scope="module")
def model():
    return source()


@pytest.fixture(scope="module")
def stats(model, tmp_path_factory):
    return write_statistics(tmp_path_factory.mktemp("meta"), model.tokenizer)


@pytest.fixture(scope="module")
def words(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    model.vocabulary.save(folder)
    return str(folder)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(value, two[key]) for key, value in one.items())


@pytest.mark.parametrize("layout", ["lightning", "nested", "plain"])
@pytest.mark.parametrize("suffix", [".ckpt", ".pth"])
def test_layouts(model, stats, words, tmp_path, layout: str, suffix: str) -> None:
    file = write(tmp_path / f"motiongpt3{suffix}", published(model), layout)
    loaded, coverage = import_motiongpt3(file, stats, text_tokenizer=words, settings=SETTINGS, as_published=True)
    assert same(loaded, model) and settings_of(loaded) == settings_of(model)
    assert not coverage.missing and not coverage.unexpected
    assert coverage.ignored["copy of the text table, equal"] == len(COPIES)
    rules = sum(coverage.ignored.values()) - len(COPIES)
    assert rules == (len(RUBBISH) if layout == "lightning" else 0)
    assert "latents are scaled by 0.8457" in coverage.report() and "shared in layers: all" in coverage.report()


def test_the_language_side_alone_with_a_vae_from_mld(model, stats, words, tmp_path) -> None:
    state = {key.removeprefix("lm."): v for key, v in published(model).items() if key.startswith("lm.")}
    file = write(tmp_path / "plain.pth", state, "plain")
    with pytest.raises(CheckpointError, match="--vae"):
        import_motiongpt3(file, stats, text_tokenizer=words, as_published=True)
    rest = {"denoiser.x": torch.ones(2), "t2m_textencoder.y": torch.ones(1)}
    vae = write(tmp_path / "1222_mld_humanml3d_FID041.ckpt", published_vae(model.tokenizer, "motion_vae.") | rest)
    loaded, coverage = import_motiongpt3(file, stats, vae, words, SETTINGS, as_published=True)
    assert same(loaded, model)
    assert coverage.ignored["denoiser. (not VAE)"] == 1


def test_a_named_vae_replaces_the_one_inside(model, stats, words, tmp_path) -> None:
    other = tiny_vae(5)
    file = write(tmp_path / "a.ckpt", published(model))
    vae = write(tmp_path / "b.ckpt", published_vae(other))
    loaded, coverage = import_motiongpt3(file, stats, vae, words, SETTINGS, as_published=True)
    assert same(loaded.tokenizer.network, other.network) and not same(loaded.tokenizer.network, model.tokenizer.network)
    assert coverage.ignored["--vae"] == len(published_vae(other))


def test_without_guidance_there_is_no_fake_latent(model, stats, words, tmp_path) -> None:
    file = write(tmp_path / "a.ckpt", changed(published(model), {"lm.fake_latent": None}))
    loaded, coverage = import_motiongpt3(file, stats, text_tokenizer=words, settings=SETTINGS[:-1], as_published=True)
    assert loaded.config.guidance_scale == 1 and not loaded.fake_latent.any()
    assert "fake_latent is not in the file" in coverage.report()
    with pytest.raises(ConfigError, match=r"guidance_scale 7\.5 needs fake_latent"):
        import_motiongpt3(file, stats, None, words, [*SETTINGS, "guidance_scale=7.5"], as_published=True)
    whole = write(tmp_path / "b.ckpt", published(model))
    tested = import_motiongpt3(whole, stats, text_tokenizer=words, settings=SETTINGS[:-3], as_published=True)[0].config
    assert (tested.guidance_scale, tested.prompt_style, tested.sample_latents) == (7.5, "upstream_test", True)


@pytest.mark.parametrize("copy", COPIES)
def test_text_tables_have_to_be_equal(model, stats, words, tmp_path, copy: str) -> None:
    name = f"lm.language_model.{copy}"
    file = write(tmp_path / "a.ckpt", changed(published(model), {name: published(model)[name] + 1}))
    with pytest.raises(CheckpointError, match="one table for reading and writing"):
        import_motiongpt3(file, stats, text_tokenizer=words, as_published=True)
    alone = write(tmp_path / "b.ckpt", changed(published(model), {TABLE: None}))  # any one of the four is enough
    assert same(import_motiongpt3(alone, stats, text_tokenizer=words, settings=SETTINGS, as_published=True)[0], model)


REFUSALS = {
    "1 missing: language_model.transformer.h.1.c_attn.fn.1.bias": {
        "lm.language_model.transformer.h.1.c_attn.fn.1.bias": None
    },
    "1 unexpected: lm.extra": {"lm.extra": torch.ones(2)},
    "1 unexpected: tokenizer.network.extra": {"vae.extra": torch.ones(2)},
    r"bias of shape \(3,\)": {"lm.motion_und_head.layers.bias": torch.ones(3)},
    "tokenizer.network.decoder.norm.weight": {"vae.decoder.norm.weight": None},
    "not a whole MotionGPT3 checkpoint, diffloss.net.input_proj.weight": {"lm.diffloss.net.input_proj.weight": None},
    "no language model": {TABLE: None, **{f"lm.language_model.{name}": None for name in COPIES}},
    "no representation has that width": {"vae.skel_embedding.weight": torch.ones(16, 77)},
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals_name_the_tensor(model, stats, words, tmp_path, message: str) -> None:
    file = write(tmp_path / "a.ckpt", changed(published(model), REFUSALS[message]))
    with pytest.raises(CheckpointError, match=message):
        import_motiongpt3(file, stats, text_tokenizer=words, settings=SETTINGS, as_published=True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("guidance=3", "guidance"), ("lm.architecture.heads=3", "heads"), ("tokenizer.config.depth=3", "depth"),
        ("7.5", "not KEY=VALUE"), ("tokenizer.config.latent_scale=0", "above 0"), ("holder_layout=odd", "odd"),
    ],
)  # fmt: skip
def test_wrong_settings(model, stats, words, tmp_path, setting: str, message: str) -> None:
    file = write(tmp_path / "a.ckpt", published(model))
    with pytest.raises((ConfigError, CheckpointError), match=message):
        import_motiongpt3(file, stats, text_tokenizer=words, settings=[*SETTINGS, setting], as_published=True)


def test_wrong_words_and_statistics(model, stats, words, tmp_path) -> None:
    file = write(tmp_path / "a.ckpt", published(model))
    byte_tokenizer().save_pretrained(str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="make 259; name the right --text-tokenizer"):
        import_motiongpt3(file, stats, text_tokenizer=str(tmp_path / "other"), as_published=True)
    small = tiny_vae(0)
    small.feature_std *= 1e-3
    write_statistics(tmp_path / "eval", small)
    with pytest.raises(DataError, match="statistics of the Guo evaluator"):
        import_motiongpt3(file, tmp_path / "eval", None, words, SETTINGS, as_published=True)


def test_sizes_come_from_the_shapes(stats, words, tmp_path) -> None:
    head = DiffusionHeadConfig(width=24, depth=1, pooling=False, learn_sigma=True, num_inference_steps="10")
    model = source(head=head, input_holders=2, output_holders=3, condition_norm=True)
    file = write(tmp_path / "a.ckpt", published(model))
    settings = [*SETTINGS, "lm.architecture.attention_mode=last1", "head.num_pooling_heads=4"]
    loaded, _ = import_motiongpt3(file, stats, text_tokenizer=words, settings=settings, as_published=True)
    assert same(loaded, model) and loaded.config.head == head
    assert (loaded.config.input_holders, loaded.config.output_holders) == (2, 3)
    assert [block.shared for block in loaded.language_model.transformer["h"]] == [False, True]


def test_weights_of_the_published_code(stats, tmp_path) -> None:
    """Names and shapes that the published modules themselves gave, in a checkpoint as their wrapper saves it."""
    case = next(case for case in all_cases() if case.name == "mlm_train_b_last2")
    vae = tiny_vae(latent_channels=32)
    state = {f"lm.{key}": value for key, value in case.state_dict.items()} | published_vae(vae)
    byte_tokenizer().save_pretrained(str(tmp_path / "words"))
    settings = ["lm.architecture.n_head=4", "lm.architecture.attention_mode=last2", "lm.max_length=64"]
    settings += ["tokenizer.config.num_heads=2"]
    loaded, coverage = import_motiongpt3(
        write(tmp_path / "a.ckpt", state), stats, text_tokenizer=str(tmp_path / "words"), settings=settings,
        as_published=True,
    )
    c = case.config
    assert (loaded.config.output_holders, loaded.config.input_holders) == (
        c["motion_holder_repeat"], c["holder_num_in_input"]
    )  # fmt: skip
    again = published_state(loaded)
    assert again.keys() == state.keys() and all(torch.equal(again[key], state[key]) for key in state)
    types, mask = case.tensor("type_ids"), case.tensor("attention_mask").bool()
    embeddings = torch.where(types[..., None] == 1, case.tensor("embeds_motion"), case.tensor("embeds_text"))
    with torch.no_grad():
        hidden = loaded.language_model(embeddings, types, mask)
    text = mask & (types == 0)
    torch.testing.assert_close(hidden[text], case.tensor("hidden_text")[text], atol=2e-5, rtol=0)


@pytest.mark.parametrize("prefix", ["vae.", "motion_vae.", "model.vae.", ""])
@pytest.mark.parametrize("sizes", [{}, {"tokens_per_clip": 2}, {"separate_logvar": False, "num_layers": 5}], ids=str)
def test_vae_alone(stats, tmp_path, prefix: str, sizes: dict) -> None:
    model = tiny_vae(latent_scale=0.7152, **sizes)
    model.config.normalizer = "data"
    state = published_vae(model, prefix)
    file = write(tmp_path / "mld_humanml3d.ckpt", state, "lightning" if prefix else "plain")
    loaded, coverage = import_vae(file, stats, [*VAE_SETTINGS, "latent_scale=0.7152"], as_published=True)
    assert same(loaded, model) and loaded.config == model.config
    assert "scaled by 0.7152" in coverage.report()
    clip, mask = features(20)[None], torch.ones(1, 20, dtype=torch.bool)
    assert torch.equal(loaded.encode(clip, mask)[0], model.encode(clip, mask)[0])


def test_vae_with_computed_positions(stats, tmp_path) -> None:
    model = tiny_vae(position_encoding="sinusoidal", max_positions=700, latent_scale=0.8457)
    table = SinusoidalPositions(700, 16, 0.0).pe[:, None]
    state = published_vae(model) | {f"vae.query_pos_{part}.pe": table for part in ("encoder", "decoder")}
    loaded, coverage = import_vae(write(tmp_path / "a.ckpt", state), stats, VAE_SETTINGS, as_published=True)
    assert same(loaded, model) and loaded.layout.longest == model.layout.longest
    assert loaded.config.position_encoding == "sinusoidal" and coverage.ignored["positions that are computed"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vae.skel_embedding.weight": None}, "no motion VAE"), ({"vae.encoder.norm.bias": None}, "1 missing"),
        ({"vae.final_layer.extra": torch.ones(1)}, "1 unexpected"),
        ({"motion_vae.final_layer.bias": torch.ones(263)}, "two different VAEs"),
    ],
)  # fmt: skip
def test_vae_refusals(stats, tmp_path, changes: dict, message: str) -> None:
    file = write(tmp_path / "a.ckpt", changed(published_vae(tiny_vae()), changes))
    with pytest.raises(CheckpointError, match=message):
        import_vae(file, stats, VAE_SETTINGS, as_published=True)


def test_export_refuses_what_the_layout_cannot_hold() -> None:
    with pytest.raises(CheckpointError, match="4 frames to a position"):
        published_state(tiny_motiongpt3(vae=tiny_vae(patch=4)))


def test_settings_say_what_shapes_do_not(model) -> None:
    assert sorted(settings_of(model)) == sorted(SETTINGS)
    other = source(guidance_scale=2.5, length_range=[40, 120], holder_layout="clip_major")
    assert {"guidance_scale=2.5", "length_range=[40, 120]", "holder_layout=clip_major"} <= set(settings_of(other))


def test_published_sizes_are_the_defaults() -> None:
    """Parameter counts of spec 5.4: language model and heads, and the VAE."""
    sizes = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}
    with torch.device("meta"):
        vae, lm = MotionVAE(MotionVAEConfig()), MoTGPT2(MoTGPT2.complete(sizes, 50259, 50256))
        pooling = ConditionPooling(768, 4, 1, 1024, 4, 0.1)
        parts = [lm, MotionUndHead((1, 256), 4, 768), DenoisingNetwork(256, 256, 1024, 3, pooling)]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in (vae, *parts)]
    fake_latent = 4 * 768
    assert counts[0] == 18_032_135 and sum(counts[1:]) + fake_latent == 238_246_912
