"""Rows of the two-branch model: ids, holders, truncation, labels, and which holder gets which part of a clip."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from mld.errors import CheckpointError, ConfigError, DataError
from mld.example import Clip, Text
from mld.models import prompts
from mld.models.backbones.layers import IGNORE
from mld.models.backbones.text_tokenizer import load_text_tokenizer, train_causal_tokenizer, train_text_tokenizer
from mld.models.families.motiongpt3.batch import Collator
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.layout import Layout, Row
from mld.models.families.motiongpt3.vocabulary import NAMES, HolderVocabulary
from tests.models.tiny import CORPUS

CPU = torch.device("cpu")
WORDS = HolderVocabulary(train_causal_tokenizer([f"{line} \n {line}" for line in CORPUS], 300))
HEAD, TAIL, WHOLE = Clip(features=torch.zeros(8, 263)), Clip(torch.zeros(8, 263), start=32), Clip(torch.zeros(40, 263))
LATENTS = {id(clip): torch.full((1, 2), float(i)) for i, clip in enumerate((HEAD, TAIL, WHOLE))}
IN, OUT, MASK = "<som><i><i><i><i><eom>", "<som><o><o><o><o><eom>", "<m><m><m><m>"
SHORT = dict(zip(NAMES, ("<som>", "<eom>", "<m>", "<p>", "<o>", "<i>")))


def layout(**config) -> Layout:
    return Layout(WORDS, MotionGPT3Config(**config))


def shown(ids) -> str:
    """Ids as a string, clips in short."""
    names = [*SHORT.values()]
    return "".join(
        "<eos>" if i == WORDS.eos_id else names[i - WORDS.start_id] if i >= WORDS.start_id
        else WORDS.tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in ids
    )  # fmt: skip


ROWS = [
    ((Text("a man walks"),), (WHOLE,), f"Generate motion: a man walks \n {OUT}<eos>"),
    ((WHOLE,), (Text("a man walks"),), f"Generate text: {IN} \n a man walks<eos>"),
    ((HEAD,), (WHOLE,), f"Predict motion: {IN} \n {OUT}<eos>"),
    ((HEAD, TAIL), (WHOLE,), f"Complete the masked motion: {IN}{MASK}{IN} \n {OUT}<eos>"),
    ((Text("how long?", True),), (Text("40 frames", True),), "how long? \n 40 frames<eos>"),
    ((Text("Go on: ", True), HEAD, Text("!", True)), (Text("so", True), WHOLE), f"Go on: {IN}! \n so{OUT}<eos>"),
]


@pytest.mark.parametrize(("prompt", "target", "wanted"), ROWS, ids=["t2m", "m2t", "pred", "inbetween", "t2t", "mixed"])
def test_rows_of_all_tasks(prompt, target, wanted) -> None:
    """As published (spec 3.4); ids of a row are those of the whole string read at once."""
    output = "motion" if any(isinstance(part, Clip) for part in target) else "text"
    row = layout().row(prompts.fixed_prompt(prompt, output, None), target, LATENTS, 40)
    assert shown(row.ids) == wanted.lower()
    assert shown(row.ids[: row.prompt_length]).rstrip() + " " == wanted.lower().split(" \n ")[0] + " "
    assert len(row.given) == sum(isinstance(part, Clip) for part in prompt)
    assert all(n == 40 for n in row.frames) and len(row.frames) == len(row.wanted) == (output == "motion")
    marks = {short: [WORDS.start_id + i] for i, short in enumerate(SHORT.values())} | {"<eos>": [WORDS.eos_id]}
    pieces = re.split(r"(<\w+>)", wanted)
    assert [i for piece in pieces for i in marks.get(piece, WORDS.text_ids(piece))] == list(row.ids)


def test_prompts_are_the_beginnings_of_rows() -> None:
    for prompt, target, _ in ROWS[:5]:
        output = "text" if isinstance(target[0], Text) else "motion"
        dressed = prompts.fixed_prompt(prompt, output, None)
        row, asked = layout().row(dressed, target, LATENTS), layout().prompt(dressed, output, LATENTS)
        assert row.ids[: len(asked)] == asked.ids
        assert len(asked) == row.prompt_length + (6 if output == "motion" else 0)


def test_published_tests_repeat_the_separator() -> None:
    asked = layout(prompt_style="upstream_test").prompt((Text("hi"),), "motion", {})
    assert shown(asked.ids) == f"hi \n \n {OUT}"
    assert shown(layout(prompt_style="upstream_test").prompt((Text("hi"),), "text", {}).ids) == "hi \n \n"
    assert shown(layout(boundaries=False, output_holders=2).prompt((Text("hi"),), "motion", {}).ids) == "hi \n <o><o>"


def test_clips_without_a_gap_are_not_masked() -> None:
    beside = dataclasses.replace(TAIL, start=8)
    row = layout().row((HEAD, beside), (WHOLE,), {**LATENTS, id(beside): torch.zeros(1, 2)})
    assert WORDS.mask_id not in row.ids
    known = Clip(tokens=torch.zeros(1, 2)), Clip(tokens=torch.zeros(1, 2), start=12)
    assert WORDS.mask_id in layout().prompt(known, "motion", {id(clip): clip.tokens for clip in known}).ids


@pytest.mark.parametrize("words", [30, 200])
def test_only_text_is_cut(words: int) -> None:
    long = " ".join(["walks"] * words)
    for prompt, target in (((Text(long), HEAD), (WHOLE,)), ((HEAD,), (Text(long),)), ((Text(long),), (Text(long),))):
        whole, row = layout().row(prompt, target, LATENTS), layout().row(prompt, target, LATENTS, limit=40)
        assert len(row.ids) == 40 < len(whole.ids) and row.ids[-1] == WORDS.eos_id
        for mark in range(WORDS.start_id, WORDS.start_id + len(NAMES)):
            assert row.ids.count(mark) == whole.ids.count(mark)
        assert "\n" in shown(row.ids[: row.prompt_length]), "the separator stays"
    with pytest.raises(DataError, match=r"need 25 tokens; raise lm\.max_length"):
        layout().row((HEAD, TAIL), (WHOLE,), LATENTS, limit=20)


def test_text_cannot_hold_motion_tokens(tmp_path) -> None:
    assert max(WORDS.text_ids("<start_of_motion><motion_latent_holder>")) < WORDS.start_id
    WORDS.save(tmp_path)
    tokenizer = load_text_tokenizer(tmp_path)
    tokenizer.add_tokens(list(NAMES))
    registered = HolderVocabulary(tokenizer)
    assert (registered.start_id, registered.size, registered.input_id) == (WORDS.start_id, WORDS.size, WORDS.input_id)
    assert registered.text_ids("walks<motion_latent_holder>") == WORDS.text_ids("walks")
    tokenizer.add_tokens(["<another>"])
    with pytest.raises(CheckpointError, match="other tokens"):
        HolderVocabulary(tokenizer)


def test_text_comes_back() -> None:
    ids = WORDS.text_ids(' a man\n "walks" 120 times')
    assert WORDS.decode([*ids, WORDS.eos_id]) == ' a man  "walks" 120 times'
    motion = [WORDS.start_id, *[WORDS.output_id] * 4, WORDS.end_id]
    assert WORDS.decode([*ids, *motion, *ids]).count("<Motion_Placeholder>") == 1
    mask = WORDS.text_mask()
    assert len(mask) == WORDS.size and mask[WORDS.eos_id] and mask[ids].all() and not mask[WORDS.start_id :].any()
    assert HolderVocabulary(train_text_tokenizer(CORPUS, 300)).eos_id == 1


def test_chunks_of_two_clips() -> None:
    """chunk_major mixes the clips of a prompt as published (spec 3.2), clip_major keeps each together."""
    rows = [layout().row(p, t, LATENTS) for p, t, _ in (ROWS[3], ROWS[2])]
    mixed, apart = (Collator(WORDS, (1, 2), 4, order)(rows, CPU).chunks.tolist() for order in (True, False))
    assert mixed == [0, 4, 1, 5, 2, 6, 3, 7, 8, 9, 10, 11] and apart == list(range(12))


def test_batch_and_labels() -> None:
    collate = Collator(WORDS, (1, 2), 4, True)
    rows = [layout().row(p, t, LATENTS, 40) for p, t, _ in (ROWS[0], ROWS[1])]
    batch = collate(rows, CPU, length=30)
    assert batch.ids.shape == (2, 30) and batch.mask.sum(1).tolist() == [len(row.ids) for row in rows]
    assert torch.equal(batch.types == 1, (batch.ids == WORDS.output_id) | (batch.ids == WORDS.input_id))
    assert batch.own_ids[batch.types == 1].unique().tolist() == [2, 3]
    assert batch.given[:, 0, 0].tolist() == [2.0] and batch.wanted[:, 0, 0].tolist() == [2.0]
    assert batch.frames.tolist() == [40.0]
    all_labels = collate.labels(batch, padding=True, prompt=True)
    assert (all_labels[~batch.mask] == WORDS.eos_id).all() and (all_labels[batch.ids == WORDS.start_id] > 0).all()
    silent = (batch.types == 1) | (batch.ids == WORDS.end_id)
    assert torch.equal(all_labels == IGNORE, silent)
    answers = collate.labels(batch, padding=False, prompt=False)
    assert answers[0][answers[0] != IGNORE].tolist() == [WORDS.start_id, WORDS.eos_id]
    assert shown(answers[1][answers[1] != IGNORE].tolist()) == " a man walks<eos>"
    left = collate([Row((1, 2), 1, (), (), ()), Row((3,), 1, (), (), ())], CPU, left=True)
    assert left.ids.tolist() == [[1, 2], [WORDS.eos_id, 3]] and left.computed.tolist() == [[0, 0], [-1, 0]]


@pytest.mark.parametrize(("text", "frames"), [
    ("walk for 120 frames", 120), ("a 6.5 seconds walk", 130), ("for 3 sec", 60), ("Length: 40 frames, 9 seconds", 40),
    ("in the 1990s", None), ("2 steps", None), ("", None),
])  # fmt: skip
def test_named_lengths(text: str, frames: int | None) -> None:
    assert prompts.named_frames(text, 20.0) == frames


@pytest.mark.parametrize(("wrong", "message"), [
    ({"holder_layout": "mixed"}, "holder_layout 'mixed' is not one of chunk_major, clip_major"),
    ({"prompt_style": "x"}, "prompt_style"), ({"frozen": ["vae"]}, "unknown .'vae'.; known: text, motion, head"),
    ({"output_holders": 0}, "output_holders 0"), ({"condition_dropout": 1.5}, "condition_dropout 1.5"),
    ({"length_range": [80]}, "length_range"), ({"lm": TwoBranchConfig(init_motion_branch="0")}, "init_motion_branch"),
])  # fmt: skip
def test_config_mistakes(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MotionGPT3Config(**wrong).check()
