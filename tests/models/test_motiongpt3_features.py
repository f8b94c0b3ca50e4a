"""MotionGPT3 that reads features of a frozen text encoder before its pieces of words."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
import yaml

from mld.checkpoint import load_model, save_model, without_weights
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import CheckpointError, ConfigError, DataError
from mld.example import Clip, Example, Text
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.decoding import TwoBranchRecompute
from mld.models.families.motiongpt3.export import published_state
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.quantization import round_weights
from mld.models.text_encoders.bert import BertEncoder
from mld.training.averaging import changing
from mld.training.parallel import units
from tests.models.tiny import CORPUS, SIZES, examples, features, tiny_motiongpt3, tiny_vae
from tests.models.tiny_million import HashedWords

CLIP = Clip(features=features(40))
ASKED = [
    (Text("a person walks forward."),), (CLIP,), (Text("someone jumps up twice and then sits down"),), (Text("walk"),),
    (Text("turn"), CLIP),
]  # fmt: skip


def told_motiongpt3(seed: int = 0, text=None, max_length: int = 128, **config) -> MotionGPT3:
    vae = tiny_vae(seed)
    torch.manual_seed(seed)
    sizes = {
        "lm": TwoBranchConfig(architecture=SIZES["gpt2"], text_vocabulary=320, max_length=max_length),
        "head": DiffusionHeadConfig(width=32, depth=2, num_pooling_heads=2, num_inference_steps="10"),
    }
    parts = {"tokenizer": vae, "text": text or HashedWords()}
    return MotionGPT3.create(MotionGPT3Config(**{**sizes, **config}), parts, CORPUS).eval()


@pytest.fixture(scope="module")
def model() -> MotionGPT3:
    return told_motiongpt3()


def filled(prompt: str, caption: str = "", target=(CLIP,), *clips) -> Example:
    """An example of a template, as data has it."""
    return Example((Text(prompt, True), *clips), target, 40, caption=caption)


@torch.no_grad()
@pytest.mark.parametrize("left", [True, False])
def test_features_stand_in_their_places(model: MotionGPT3, left: bool) -> None:
    """Row by row and by hand, whichever side is padded; one row has no features at all."""
    prompts = [model.prompt(asked, "text") for asked in ASKED]
    assert len({len(prompt.rows) for prompt in prompts}) > 3
    prompts.append(dataclasses.replace(prompts[0], rows=None))
    batch = model.collate(prompts, model.device, left=left)
    got = model.embeddings(batch)
    plain = model.embeddings(dataclasses.replace(batch, rows=None, told=batch.told[:0]))
    for prompt, row, without, real in zip(prompts, got, plain, batch.mask):
        want = without[real]
        if prompt.rows is not None:
            assert set(prompt.ids[: len(prompt.rows)]) == {model.vocabulary.eos_id}
            want[: len(prompt.rows)] = model.word_reader(prompt.rows)
        torch.testing.assert_close(row[real], want)
    assert (got - plain)[:-1].abs().max() > 1e-2


@torch.no_grad()
def test_conditions_do_not_depend_on_the_batch_and_hang_on_features(model: MotionGPT3) -> None:
    prompts = [model.prompt(asked, "motion") for asked in ASKED]
    for prompt, row in zip(prompts, model.condition(prompts)):
        torch.testing.assert_close(model.condition([prompt])[0], row, atol=1e-4, rtol=1e-4)
        other = dataclasses.replace(prompt, rows=prompt.rows.flip(1))
        assert (model.condition([other])[0] - row).abs().max() > 1e-3


@torch.no_grad()
def test_cached_decoding_equals_recomputing(model: MotionGPT3) -> None:
    """Left padding, rows leaving and changing places on the way."""
    prompts = [model.prompt(asked, "text") for asked in ASKED]
    cached, naive, ids = model.steps(prompts), TwoBranchRecompute(model, prompts), None
    generator = torch.Generator().manual_seed(0)
    for step in range(8):
        got, want = cached.step(ids), naive.step(ids)
        torch.testing.assert_close(got, want, atol=2e-4, rtol=1e-4)
        if step in (2, 5):
            rows = torch.arange(len(got) - 1, -1, -2)
            cached.keep(rows)
            naive.keep(rows)
            got = got[rows]
        ids = torch.randint(model.vocabulary.size, (len(got),), generator=generator)


@pytest.mark.parametrize("padding", [True, False])
def test_places_of_features_are_not_learnt(padding: bool) -> None:
    """They count in no loss, be padding a part of it or not; what follows them does."""
    model = told_motiongpt3(ce_on_padding=padding)
    latents = model._latents([CLIP])
    (read,) = model._words(["a person walks"])
    rows = [model._row(Example((Text("a person walks"),), (CLIP,), 40), latents, read),
            model._row(Example((Text("hop"),), (CLIP,), 40), latents)]  # fmt: skip
    assert rows[0].prompt_length - len(read) == model.layout.row(
        [Text("Generate motion: a person walks")], [CLIP], latents
    ).prompt_length
    data = model.collate(rows, model.device, 128 if padding else 0)
    labels = model.collate.labels(data, padding, True)
    assert data.told.tolist() == list(range(len(read))) and set(labels[0, : len(read)].tolist()) == {-100}
    assert (labels[0, len(read) : rows[0].prompt_length] >= 0).all() and (labels[1, :3] >= 0).all()


def test_training_learns_and_moves_what_reads_features() -> None:
    model = told_motiongpt3(word_dropout=0.3, ce_on_padding=False, length_head=True).train()
    batch = [*examples(), Example((Text("how long is a walk?", True),), (Text("40 frames", True),), name="t2t")]
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    first = model.eval().loss(batch)
    assert model.loss(batch) == first, "validation draws nothing"
    for _ in range(12):
        optimizer.zero_grad()
        sum(model.train().loss(batch).values()).backward()
        assert all(p.grad is not None for p in model.word_reader.parameters())
        optimizer.step()
    last = model.eval().loss(batch)
    assert all(last[name] < first[name] for name in last)
    assert {"word_reader.1.weight", "word_reader.1.bias"} <= set(changing(model)), "averaged, too"
    assert any(p is model.word_reader[1].weight for p in model.parameter_groups()["head"])
    assert not any(p is model.word_reader[1].weight for unit in units(model) for p in unit.parameters())


def test_a_length_that_nobody_knows_still_has_gradients() -> None:
    """Processes that share a network agree on which weights have some."""
    model = told_motiongpt3(length_head=True).train()
    terms = model.loss([Example((CLIP,), (Text("a person walks"),), 40)])
    assert float(terms["length_loss"].detach()) == 0
    sum(terms.values()).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.length_head.parameters())


@pytest.mark.parametrize(("clips", "template", "output"), [
    ((CLIP,), "Generate text: ", "text"), ((CLIP,), "Predict motion: ", "motion"),
    ((CLIP, Clip(features=features(8), start=60)), "Complete the masked motion: ", "motion"),
])  # fmt: skip
def test_clips_alone_are_asked_for_as_templates_do(model: MotionGPT3, clips, template: str, output: str) -> None:
    target = (CLIP,) if output == "motion" else (Text("a person walks"),)
    model.text.asked.clear()
    model.loss([filled(template, "", target, *clips)])
    model.prompt(clips, output)
    assert model.text.asked == [template.strip()] * 2


def test_dropped_words_are_told_by_features_alone() -> None:
    model = told_motiongpt3(word_dropout=1.0).train()
    asked = filled("Generate motion with 40 frames: a person walks forward.", "a person walks forward.")
    model.text.asked.clear()
    latents, (read,) = model._latents([CLIP]), model._words([asked.caption])

    def words(row) -> str:
        ids = row.ids[len(read) : row.prompt_length]
        return model.vocabulary.decode([i for i in ids if i < model.vocabulary.start_id]).strip()

    assert words(model._row(asked, latents, read)) == "generate motion with 40 frames:"
    assert words(model.eval()._row(asked, latents, read)).endswith("a person walks forward.")
    question = filled("How many frames has ", "", (Text("40", True),), CLIP)
    assert words(model.train()._row(question, latents, read)) == "generate text:"
    named = model.prompt((Text("a person walks 60 frames"),), "motion")
    assert model.frames([named], model.condition([named]), [0]) == [60], "requests keep their words"


def test_features_leave_half_of_a_row_and_texts_are_cut_to_the_rest() -> None:
    model = told_motiongpt3(max_length=48)
    text = Text(" ".join(["walking"] * 60))
    row = model._row(Example((text,), (CLIP,), 40), model._latents([CLIP]), model._words([text.text])[0])
    assert len(row.rows) == 24 and len(row.ids) == 48
    prompt = model.prompt((text,), "motion")
    assert len(prompt.rows) == 24 and len(prompt) > model.longest_prompt("motion")
    narrow = told_motiongpt3(max_length=16)
    with pytest.raises(DataError, match="raise lm.max_length"):
        narrow.loss([Example((text, CLIP), (CLIP,), 40)])


def test_a_folder_a_copy_and_a_pickle_give_the_same_answers(tmp_path, words: str) -> None:
    model = told_motiongpt3(text=BertEncoder(words))
    again = load_model(save_model(model, tmp_path / "model", {}))
    assert isinstance(again.text, BertEncoder) and again.config == model.config
    asked = Request((Text("a man jumps up twice."),), "motion", 24, 3)
    want = Pipeline(model).run([asked])[0].features
    for other in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        torch.testing.assert_close(other.state_dict(), model.state_dict())
        torch.testing.assert_close(Pipeline(other).run([asked])[0].features, want)
    assert not any(key.startswith("text") for key in model.state_dict()), "the encoder is no part of the weights"


def test_folders_from_before_load_as_before(tmp_path) -> None:
    model = tiny_motiongpt3()
    folder = save_model(model, tmp_path / "model", {})
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert set(stored["parts"]) == {"tokenizer"}
    del stored["config"]["word_dropout"]
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    again = load_model(folder)
    assert again.text is None and again.word_reader is None and again.config == model.config
    torch.testing.assert_close(again.loss(examples()), model.loss(examples()))


def test_settings_and_parts_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"word_dropout is 0\.4, but without a text encoder"):
        tiny_motiongpt3(word_dropout=0.4)
    model = tiny_motiongpt3()
    with pytest.raises(ConfigError, match="nothing tells dropped words"):
        model.adopt(dataclasses.replace(model.config, word_dropout=0.1))
    with pytest.raises(CheckpointError, match="text encoder 'hashed_words'; published checkpoints have no place"):
        published_state(told_motiongpt3())
    told = told_motiongpt3()
    told.adopt(dataclasses.replace(told.config, word_dropout=0.5, guidance_scale=2.0, input_holders=1))
    assert (told.config.word_dropout, told.config.guidance_scale, told.config.input_holders) == (0.5, 2.0, 4)


@pytest.mark.parametrize("weights", ["int8", "half"])
def test_smaller_weights_read_features_as_well(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mld.models.quantization.LEAST", 4)
    model = told_motiongpt3()
    prompts = [model.prompt(asked, "text") for asked in ASKED if CLIP not in asked]
    want = model.steps(prompts).step(None)
    if weights == "int8":
        round_weights(model, "int8")
        assert type(model.word_reader[1]) is not torch.nn.Linear
    else:
        model.language_model.to(torch.bfloat16)
        model.word_reader.to(torch.bfloat16)
    got = model.steps(prompts).step(None)
    assert 0 < (got - want).abs().max() < 0.2 * want.abs().max()


def test_sizes_are_told_without_weights() -> None:
    """As a dry run of a family that may be sharded does."""
    with without_weights():
        outline = told_motiongpt3()
    whole = told_motiongpt3()
    assert {n: p.shape for n, p in outline.named_parameters()} == {n: p.shape for n, p in whole.named_parameters()}
    assert outline.word_reader[1].weight.is_meta
