"""MotionGPT that reads features of a frozen text encoder before its pieces of words, and answers that are guided."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mld.checkpoint import load_model, save_model
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.errors import CheckpointError, ConfigError
from mld.example import Clip, Example, Text
from mld.models import registry
from mld.models.backbones.layers import Recompute
from mld.models.backbones.text_tokenizer import train_text_tokenizer
from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
from mld.models.families.motiongpt.model import MotionGPT
from mld.models.families.motiongpt.prompt import GuidedSteps, split
from mld.models.quantization import round_weights
from mld.models.text_encoders.bert import BertEncoder
from mld.training.averaging import changing
from mld.training.dry_run import untrained
from mld.training.networks import prepare_captions
from mld.training.run_config import load_run
from tests.models.tiny import CORPUS, SIZES, examples, features, tiny_motiongpt, tiny_vqvae
from tests.models.tiny_million import HashedWords

NEW = ("text_dropout", "word_dropout", "guidance_scale", "input_corruption")
CLIP = Clip(features=features(40))
ASKED = [
    (Text("a person walks forward."),), (CLIP,), (Text("someone jumps up twice and then sits down"),), (Text("walk"),),
    (Text("Generate a motion: ", True), CLIP), (Text("turn"), CLIP), (),
]  # fmt: skip


def told_motiongpt(backbone: str = "t5", text=None, seed: int = 0, max_length: int = 128, **config) -> MotionGPT:
    tokenizer = tiny_vqvae(seed)
    lm = LanguageModelConfig(backbone, architecture=SIZES[backbone], text_vocabulary=320, max_length=max_length)
    torch.manual_seed(seed)
    parts = {"tokenizer": tokenizer, "text": text or HashedWords()}
    model = MotionGPT.create(MotionGPTConfig(lm=lm, **config), parts, CORPUS).eval()
    model.lm.read[1].weight.data *= 20  # features that count from the start
    return model


@pytest.fixture(scope="module")
def model() -> MotionGPT:
    return told_motiongpt()


def filled(prompt: str, caption: str = "", target=(CLIP,), *clips) -> Example:
    """An example of a template, as data has it."""
    return Example((Text(prompt, True), *clips), target, 40, caption=caption)


# features before ids


@torch.no_grad()
def test_answers_do_not_depend_on_the_batch(model: MotionGPT) -> None:
    """Rows of more and of fewer features and ids: nothing comes between them, as distances count."""
    prompts = [model.prompt(asked, "motion") for asked in ASKED]
    assert len({len(prompt.rows) for prompt in prompts}) > 3
    together = model.steps(prompts).step(None)
    for prompt, row in zip(prompts, together):
        torch.testing.assert_close(model.steps([prompt]).step(None)[0], row, atol=1e-4, rtol=1e-4)
        bare = model.lm.start([prompt.ids], [torch.zeros(1, 20)]).step(None)[0]
        assert (bare - row).abs().max() > 1e-2, "features count"


@torch.no_grad()
def test_features_stand_directly_before_the_ids(model: MotionGPT) -> None:
    """By hand: one row of embeddings without any padding."""
    prompts = [model.prompt(asked, "motion") for asked in ASKED[:3]]
    memory, mask = model.lm.encode(*split(prompts))
    for prompt, states, real in zip(prompts, memory, mask):
        row = torch.cat((model.lm.read(prompt.rows), model.lm.shared(torch.tensor(prompt.ids))))[None]
        want = model.lm.encoder(inputs_embeds=row, attention_mask=torch.ones(row.shape[:2])).last_hidden_state[0]
        torch.testing.assert_close(states[real], want, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_cached_decoding_equals_recomputing(model: MotionGPT) -> None:
    prompts = [model.prompt(asked, "motion") for asked in ASKED]
    cached, ids = model.steps(prompts), None
    naive = Recompute(model.lm, *split(prompts))
    generator = torch.Generator().manual_seed(0)
    for step in range(9):
        got, want = cached.step(ids), naive.step(ids)
        torch.testing.assert_close(got, want, atol=2e-4, rtol=1e-4)
        if step in (2, 5):
            rows = torch.arange(len(got) - 1, -1, -2)
            cached.keep(rows)
            naive.keep(rows)
            got = got[rows]
        ids = torch.randint(model.vocabulary.size, (len(got),), generator=generator)


def test_training_learns_and_moves_what_reads_features(model: MotionGPT) -> None:
    model = told_motiongpt(text_dropout=0.1, word_dropout=0.3).train()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    first = model.eval().loss(examples())["gpt_loss"].item()
    assert model.loss(examples())["gpt_loss"].item() == first, "validation draws nothing"
    for _ in range(12):
        optimizer.zero_grad()
        model.train().loss(examples())["gpt_loss"].backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
    assert model.eval().loss(examples())["gpt_loss"] < 0.9 * first
    assert {"lm.read.1.weight", "lm.read.1.bias"} <= set(changing(model)), "averaged, too"


def test_a_long_text_is_cut_as_in_training_and_counted_by_its_ids() -> None:
    model = told_motiongpt(max_length=24)
    text = Text(" ".join("abcdefgh" * 6))
    prompt = model.prompt((text,), "motion")
    assert len(prompt.rows) == 24 and len(prompt) == len(prompt.ids) > 24
    assert torch.isfinite(model.train().loss([Example((text,), (CLIP,), 40)])["gpt_loss"])
    short = model.eval().prompt((Text("a b c d e f g h"),), "motion")
    assert len(short) <= model.longest_prompt("motion") < len(short) + len(short.rows), "features do not use up room"


# what is read


@pytest.mark.parametrize(("segments", "template", "output"), [
    ((CLIP,), "Generate text: ", "text"), ((CLIP,), "Predict motion: ", "motion"),
    ((CLIP, Clip(features=features(8), start=60)), "Complete the masked motion: ", "motion"),
])  # fmt: skip
def test_clips_alone_are_asked_for_as_templates_do(model: MotionGPT, segments, template: str, output: str) -> None:
    """Features of an instruction without a caption are the same in training and in requests."""
    target = (CLIP,) if output == "motion" else (Text("a person walks"),)
    model.text.asked.clear()
    model.loss([filled(template, "", target, *segments)])
    model.prompt(segments, output)
    assert model.text.asked == [template.strip()] * 2


def test_captions_alone_are_read_where_they_are_known(model: MotionGPT) -> None:
    model.text.asked.clear()
    model.loss([filled("Generate motion: a person walks", "a person walks"), Example((Text("hop"),), (CLIP,), 40)])
    model.prompt((Text("a person walks"),), "motion", 40)
    model.prompt((), "motion")
    assert model.text.asked == ["a person walks", "hop", "a person walks", ""]


def pair(model: MotionGPT, example: Example) -> tuple[str, str]:
    """Words of the prompt that training forms, and those that features tell."""
    clips = [part for part in (*example.prompt, *example.target) if isinstance(part, Clip)]
    prompt, _, told = model._training_pair(example, dict(zip(map(id, clips), model.tokenize(clips))))
    return model.vocabulary.decode([i for i in prompt if i < model.vocabulary.text_size]).strip(), told


def test_dropped_words_are_told_by_features_and_dropped_texts_by_nothing() -> None:
    model = told_motiongpt(word_dropout=1.0).train()
    spoken = filled("Generate motion with 40 frames: a person walks forward.", "a person walks forward.")
    assert pair(model, spoken) == ("generate motion with 40 frames:", "a person walks forward.")
    plain = Example((Text("a person walks"),), (CLIP,), 40)
    assert pair(model, plain) == ("generate motion:", "a person walks")
    question = filled("how many frames has ", "", (Text("40"),), CLIP)
    assert pair(model, question) == ("generate text:", "how many frames has")
    model.adopt(dataclasses.replace(model.config, word_dropout=0.0, text_dropout=1.0))
    assert pair(model, spoken) == ("generate motion with 40 frames:", "")
    captioned = filled("Generate text: ", "", (Text("a person walks"),), CLIP)
    assert pair(model, captioned) == ("generate text:", "Generate text:"), "only motions are guided"
    assert pair(model.eval(), spoken)[1] == "a person walks forward."


def test_dropped_captions_are_not_quoted() -> None:
    model = told_motiongpt(word_dropout=1.0, quote_probability=1.0).train()
    assert pair(model, Example((Text("a person walks"),), (CLIP,), 40))[0] == "generate motion:"


# guidance


@torch.no_grad()
@pytest.mark.parametrize("kind", ["features", "t5", "gpt2"])
def test_guidance_equals_its_formula_row_by_row(kind: str) -> None:
    """Alone, every row twice; rows without words are as without guidance. Rows leave and change places."""
    scale = 2.5
    model = (
        told_motiongpt(guidance_scale=scale) if kind == "features" else tiny_motiongpt(kind, guidance_scale=scale)
    )
    plain = copy.deepcopy(model)
    plain.adopt(dataclasses.replace(model.config, guidance_scale=1.0))
    asked, nothing = list(ASKED), [Text("")]
    prompts = [model.prompt(one, "motion") for one in asked]

    def start(segments):
        return plain.steps([plain.prompt(segments, "motion")])

    twins = []
    for one in asked:
        bare = [part for part in one if isinstance(part, Clip)]
        guided = any(isinstance(part, Text) for part in one)
        twin = None
        if guided:
            silent = plain.prompt([*(nothing if isinstance(one[0], Text) else []), *bare], "motion")
            if kind == "features":
                silent = dataclasses.replace(silent, rows=model.text.encode([""])[0].tokens)
            twin = plain.steps([silent])
        twins.append((start(one), twin))
    steps, ids = model.steps(prompts), None
    assert isinstance(steps, GuidedSteps)
    generator = torch.Generator().manual_seed(0)
    for step in range(7):
        got = steps.step(ids)
        for place, (said, bare) in enumerate(twins):
            own = None if ids is None else ids[place : place + 1]
            want = said.step(own)[0]
            if bare is not None:
                away = torch.log_softmax(want, -1) - torch.log_softmax(bare.step(own)[0], -1)
                want = want + (scale - 1) * away
            torch.testing.assert_close(got[place], want, atol=5e-4, rtol=1e-3)
        rows = {1: torch.tensor([6, 5, 3, 1, 0]), 3: torch.tensor([0, 3, 1]), 5: torch.tensor([0, 1])}.get(step)
        if rows is not None:
            if step == 5:
                rows = torch.tensor([i for i, (_, bare) in enumerate(twins) if bare is None])
            steps.keep(rows)
            twins, got = [twins[i] for i in rows.tolist()], got[rows]
        ids = torch.randint(model.vocabulary.size, (len(got),), generator=generator)
    assert not any(bare for _, bare in twins), "rows without words stay when all others are done"


def test_a_scale_of_one_and_answers_in_words_cost_nothing() -> None:
    model = told_motiongpt(guidance_scale=3.0)
    assert model.prompt(ASKED[0], "text").bare is None and model.prompt(ASKED[1], "motion").bare is None
    model.adopt(dataclasses.replace(model.config, guidance_scale=1.0))
    assert model.prompt(ASKED[0], "motion").bare is None
    assert isinstance(tiny_motiongpt().prompt(ASKED[0], "motion"), list), "as before, without features and guidance"


def test_guided_answers_do_not_depend_on_their_neighbours() -> None:
    """Also under a penalty for repetition, which looks at the sign of logits."""
    model = told_motiongpt(guidance_scale=2.0)
    model.config.motion_generation.repetition_penalty = 1.3
    pipeline = Pipeline(model)
    texts = {"a person walks": 24, "hop and turn around": 32}
    asked = [Request((Text(text),), "motion", frames, frames) for text, frames in texts.items()]
    together = [answer.tokens for answer in pipeline.run(asked)]
    for one, tokens in zip(asked, together):
        assert torch.equal(pipeline.run([one])[0].tokens, tokens)


# made, kept, refused


def test_words_may_be_dropped_only_where_features_tell_them() -> None:
    with pytest.raises(ConfigError, match=r"word_dropout is 0\.4, but without a text encoder"):
        tiny_motiongpt(word_dropout=0.4)
    model = tiny_motiongpt(text_dropout=0.5)
    with pytest.raises(ConfigError, match="nothing tells dropped words"):
        model.adopt(dataclasses.replace(model.config, word_dropout=0.1))
    with pytest.raises(ConfigError, match="backbone 'gpt2' reads no features"):
        told_motiongpt("gpt2")
    with pytest.raises(ConfigError, match="guidance_scale is -1"):
        MotionGPTConfig(guidance_scale=-1)


def test_a_pretrained_language_model_learns_to_read_features(tmp_path) -> None:
    import transformers

    tokenizer = train_text_tokenizer(CORPUS, 300)
    tokenizer.save_pretrained(str(tmp_path))
    config = transformers.T5Config(vocab_size=len(tokenizer), **SIZES["t5"])
    weights = transformers.T5ForConditionalGeneration(config).state_dict()
    save_file({key: value.clone() for key, value in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    lm = LanguageModelConfig(pretrained=str(tmp_path))
    model = MotionGPT.create(MotionGPTConfig(lm=lm), {"tokenizer": tiny_vqvae(), "text": HashedWords()}, [])
    key = "encoder.block.0.layer.0.SelfAttention.q.weight"
    assert torch.equal(model.lm.state_dict()[key], weights[key]) and model.lm.read is not None
    assert torch.isfinite(model.loss(examples())["gpt_loss"])
    part = {key: value.clone() for key, value in weights.items() if "block.1" not in key}
    save_file(part, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        MotionGPT.create(MotionGPTConfig(lm=lm), {"tokenizer": tiny_vqvae(), "text": HashedWords()}, [])


def test_a_folder_a_copy_and_a_pickle_give_the_same_answers(tmp_path, words: str) -> None:
    model = told_motiongpt(text=BertEncoder(words), guidance_scale=2.0)
    again = load_model(save_model(model, tmp_path / "model", {}))
    assert isinstance(again.text, BertEncoder) and again.text is not model.text and again.config == model.config
    asked = Request((Text("a man jumps up twice."),), "motion", 24, 3)
    want = Pipeline(model).run([asked])[0].tokens
    for other in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        torch.testing.assert_close(other.state_dict(), model.state_dict())
        assert torch.equal(Pipeline(other).run([asked])[0].tokens, want)
    assert not any(key.startswith("text") for key in model.state_dict()), "the encoder is no part of the weights"


def test_folders_from_before_load_as_before(tmp_path) -> None:
    model = tiny_motiongpt()
    folder = save_model(model, tmp_path / "model", {})
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert set(stored["parts"]) == {"tokenizer"}
    for name in NEW:
        del stored["config"][name]
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    again = load_model(folder)
    assert again.text is None and again.lm.read is None and again.config == model.config
    torch.testing.assert_close(again.loss(examples()), model.loss(examples()))
    stored["parts"]["words"] = stored["parts"]["tokenizer"]
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(CheckpointError, match="has no part 'words'"):
        load_model(folder)


@pytest.mark.parametrize("weights", ["int8", "half"])
def test_smaller_weights_read_features_as_well(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mld.models.quantization.LEAST", 4)
    model = told_motiongpt()
    prompts = [model.prompt(asked, "motion") for asked in ASKED]
    want = model.steps(prompts).step(None)
    if weights == "int8":
        round_weights(model, "int8")
        assert type(model.lm.read[1]) is not torch.nn.Linear
    else:
        model.lm.to(torch.bfloat16)
    got = model.steps(prompts).step(None)
    assert 0 < (got - want).abs().max() < 0.2 * want.abs().max()


def test_features_of_sentences_alone_will_not_do(tmp_path, words: str) -> None:
    model = told_motiongpt(text=BertEncoder(words))
    model.text.keep_in(tmp_path / "kept", "none")
    with pytest.raises(ConfigError, match="cached_tokens=none keeps sentences alone"):
        model.prompt((Text("a man jumps"),), "motion")


def test_a_run_makes_it_over_the_encoder_that_its_config_names(words: str) -> None:
    run = load_run(
        Path(__file__).parents[2] / "configs" / "quickstart" / "pretrain.yaml",
        [f"text_encoder.source={words}", "text_encoder.width=16", "model.word_dropout=0.4", "data.procedural_size=8",
         "model.lm.architecture={d_model: 32, d_kv: 8, d_ff: 48, num_layers: 1, num_heads: 4}"],
    )  # fmt: skip
    made = untrained(run, {Path(run.init_from): tiny_vqvae()})
    assert set(made.parts) == {"tokenizer", "text"} and made.lm.read[1].in_features == 16
    assert made.text._read is None, "sizes are told without opening it"
    with pytest.raises(ConfigError, match="reads no text features as it was made without an encoder"):
        prepare_captions(run, tiny_motiongpt(), None)


def test_the_registry_knows_no_part_by_accident() -> None:
    cls = registry.find("generator", "motiongpt")
    assert cls.needs == ("tokenizer",) and cls.may_have == ("text",)
    assert set(tiny_motiongpt().parts) == {"tokenizer"} and set(told_motiongpt().parts) == {"tokenizer", "text"}
