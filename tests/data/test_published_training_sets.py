"""The training sets of the published models: what lengths count, where clips are cut, what counts as a clip, which
frames statistics are of. Numbers are those of the published code, run beside this project."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig
from mld.data.datamodule import InstructionExamples
from mld.data.instructions import InstructionSet, stretches
from mld.data.sources.humanml3d import HumanML3DSource
from mld.data.sources.mixed import MixedSource, Part
from mld.data.statistics import measure
from mld.errors import ConfigError
from mld.example import CaptionedClip, Clip, Text
from mld.models.families.motiongpt.vocabulary import MotionVocabulary
from tests.data.conftest import humanml3d_config, write_features, write_texts
from tests.models.tiny import tiny_motiongpt

PLAIN = DataConfig(quote_probability=0, token_drop_probability=0)
LEGACY = replace(PLAIN, legacy_token_lengths=True)
ANYWHERE = DataConfig(cut="frame", compat_seconds=True, requote=False, token_drop_probability=1 / 3)
PREDICTION, INBETWEEN = "Motion-to-Motion/motion_prediction", "Motion-to-Motion/motion_inbetween"


def _clip(tokens: int) -> CaptionedClip:
    return CaptionedClip("walk", torch.zeros(4 * tokens, 263), ("a person walks.",), 20.0, tokens=torch.arange(tokens))


def _drawn(subtask: str, clip: CaptionedClip, cfg: DataConfig, seed: int = 0):
    return InstructionSet.load("instruct").draw(subtask, clip, np.random.default_rng(seed), cfg)


def _clips(parts) -> list[Clip]:
    return [part for part in parts if isinstance(part, Clip)]


def _published(tokens: int) -> tuple[int, int, int]:
    """Head of a prediction, first and last hidden token of an in-between, from a length in tokens taken for frames."""
    counted = tokens / 4
    return int(0.2 * counted + 1) - 1, int(0.25 * counted + 1) - 1, int(0.75 * counted + 1) - 1


def test_a_head_of_two_tokens_and_six_hidden_ones() -> None:
    """A clip of 196 frames is 49 tokens."""
    (head,) = _clips(_drawn(PREDICTION, _clip(49), LEGACY).prompt)
    first, last = _clips(_drawn(INBETWEEN, _clip(49), LEGACY).prompt)
    assert len(head.tokens) == 2 and last.start // 4 - len(first.tokens) == 6
    (head,) = _clips(_drawn(PREDICTION, _clip(49), PLAIN).prompt)
    first, last = _clips(_drawn(INBETWEEN, _clip(49), PLAIN).prompt)
    assert len(head.tokens) == 9 and last.start // 4 - len(first.tokens) == 24


@pytest.mark.parametrize("tokens", range(4, 50))
def test_heads_and_hidden_parts_of_all_lengths(tokens: int) -> None:
    head, first, last = _published(tokens)
    example = _drawn(PREDICTION, _clip(tokens), LEGACY)
    given, rest = _clips(example.prompt)[0], _clips(example.target)[0]
    assert given.tokens.tolist() == list(range(head)) and rest.tokens.tolist() == list(range(head, tokens))
    begin, end = _clips(_drawn(INBETWEEN, _clip(tokens), LEGACY).prompt)
    assert begin.tokens.tolist() == list(range(first)) and end.tokens.tolist() == list(range(last, tokens))
    assert end.start == 4 * last


def test_lengths_in_words_are_of_tokens() -> None:
    def words(subtask: str, cfg: DataConfig) -> str:
        example = _drawn(subtask, _clip(49), cfg)
        return " ".join(part.text for part in (*example.prompt, *example.target) if isinstance(part, Text))

    assert "49" in words("Text-to-Motion/framelen", LEGACY) and "196" in words("Text-to-Motion/framelen", PLAIN)
    assert "2.0" in words("Text-to-Motion/seclen", LEGACY) and "9.8" in words("Text-to-Motion/seclen", PLAIN)


def test_the_model_reads_an_empty_head_and_six_masks() -> None:
    model = tiny_motiongpt()
    vocabulary: MotionVocabulary = model.vocabulary
    count = model.vocabulary.codebook_size
    clip = replace(_clip(49), tokens=torch.arange(49) % count)
    ids = model.prompt(_drawn(INBETWEEN, clip, LEGACY).prompt, "motion")
    assert ids.count(vocabulary.mask_id) == 6 and ids.count(vocabulary.start_id) == 1
    short = replace(_clip(10), tokens=torch.arange(10) % count)
    ids = model.prompt(_drawn(PREDICTION, short, LEGACY).prompt, "motion")
    assert ids[ids.index(vocabulary.start_id) + 1] == vocabulary.end_id, "the published head of 10 tokens is empty"
    unread = replace(short, tokens=None)
    assert model.prompt(_drawn(PREDICTION, unread, LEGACY).prompt, "motion") == ids
    loss = model.loss([_drawn(PREDICTION, unread, LEGACY), _drawn(INBETWEEN, unread, LEGACY)])["gpt_loss"]
    assert torch.isfinite(loss)


def test_clips_of_any_length_are_cut_anywhere() -> None:
    """`motiongpt3`: two thirds whole, a third cropped to a multiple of four, half of these one unit less."""
    clip = CaptionedClip("walk", torch.arange(147.0)[:, None].expand(-1, 263), ("a person walks.",), 20.0)
    lengths, starts = [], set()
    for seed in range(600):
        example = _drawn("Motion-to-Text/caption", clip, ANYWHERE, seed)
        (given,) = _clips(example.prompt)
        lengths.append(len(given.features))
        assert example.num_frames == lengths[-1]
        starts.add(int(given.features[0, 0]))
    shares = {length: lengths.count(length) / 600 for length in set(lengths)}
    assert set(shares) == {147, 144, 140}
    assert abs(shares[147] - 2 / 3) < 0.06 and abs(shares[144] - 1 / 6) < 0.05 and abs(shares[140] - 1 / 6) < 0.05
    assert starts == set(range(8)), "any frame that leaves enough"


def test_parts_are_cut_at_any_frame() -> None:
    """Of 180 lengths, heads differ from those of a grid of four frames in 135 and tails in most."""
    whole = replace(ANYWHERE, token_drop_probability=0)
    for frames in range(20, 200):
        clip = CaptionedClip("walk", torch.zeros(frames, 263), ("a person walks.",), 20.0)
        (head,) = _clips(_drawn(PREDICTION, clip, whole).prompt)
        first, last = _clips(_drawn(INBETWEEN, clip, whole).prompt)
        assert len(head.features) == int(0.2 * frames)
        assert (len(first.features), last.start) == (int(0.25 * frames), int(0.75 * frames))


def test_seconds_are_whole_and_quotes_are_not_doubled() -> None:
    clip = CaptionedClip("walk", torch.zeros(196, 263), ('a "person" walks.',), 20.0)
    cfg = replace(ANYWHERE, quote_probability=1, token_drop_probability=0)
    example = _drawn("Text-to-Motion/caption_seclen", clip, cfg)
    text = "".join(part.text for part in example.prompt)
    assert "9.0" in text and 'a "person" walks.' in text and '"a "person' not in text
    again = _drawn("Text-to-Motion/caption", clip, replace(cfg, requote=True))
    assert '"a "person" walks."' in "".join(part.text for part in again.prompt)


def test_cuts_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="cache_latents=false"):
        stretches(100, ["<Motion_Placeholder>"], ANYWHERE)
    with pytest.raises(ConfigError, match="no tokens for frames"):
        stretches(100, ["<Motion_Placeholder>"], LEGACY)
    with pytest.raises(ConfigError, match="data.cut=unit"):
        replace(ANYWHERE, legacy_token_lengths=True).check()


@pytest.fixture
def timed_folder(humanml3d_folder: Path) -> Path:
    """`walk0` (50 frames): described whole, and its first 0.2, 0.5 and 2.2 seconds apart."""
    lines = ["a person walks.#a/DET#0.0#0.0", "starts.#start/VERB#0.0#0.1", "steps.#step/VERB#0.0#0.5"]
    write_texts(humanml3d_folder, "walk0", "\n".join([*lines, "goes.#go/VERB#0.0#2.2"]) + "\n")
    write_features(humanml3d_folder, "walk0", 50)
    return humanml3d_folder


@pytest.mark.parametrize(("least", "kept"), [
    (None, {"C_walk0": 44}), (1, {"B_walk0": 10, "C_walk0": 44}), (12, {"C_walk0": 44}),
])  # fmt: skip
def test_timed_captions_have_a_minimum_of_their_own(timed_folder: Path, least: int | None, kept: dict) -> None:
    """The published language models learn from every stretch with a token in it; 2 frames have none."""
    source = HumanML3DSource(humanml3d_config(timed_folder, timed_min_frames=least), "train")
    found = {source[i].name: source.num_frames(i) for i in range(len(source)) if "_" in source[i].name}
    assert found == kept
    assert 50 in source.lengths, "whole clips are gated as ever"
    if least is not None:
        cfg = replace(source._cfg, legacy_token_lengths=True, token_drop_probability=1.0)
        examples = InstructionExamples(source, cfg, None)
        assert all(math.isfinite(examples[i, seed].num_frames) for i in range(len(source)) for seed in range(20))


def test_statistics_count_each_frame_once(timed_folder: Path) -> None:
    source = HumanML3DSource(humanml3d_config(timed_folder, timed_min_frames=1), "train")
    frames = [np.load(timed_folder / "new_joint_vecs" / f"walk{i}.npy") for i in range(4)]
    wanted = torch.from_numpy(np.concatenate(frames)).double().mean(0)
    assert torch.allclose(measure(source).mean.double(), wanted, atol=1e-5)
    mixed = MixedSource([Part("a", source, 0.5), Part("b", source, 0.5)], "train")
    assert torch.allclose(measure(mixed).mean.double(), wanted, atol=1e-5)
