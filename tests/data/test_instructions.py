"""Templates: the built-in sets are sound, faults of a file are named, placeholders are filled as published."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig
from mld.data.instructions import InstructionSet, inbetween_cut, prediction_cut, stretches
from mld.errors import ConfigError, DataError
from mld.example import CaptionedClip, Clip, Example, Text

SUBTASKS = {
    "Text-to-Motion": ("caption", "caption_framelen", "caption_seclen", "framelen", "seclen", "random"),
    "Motion-to-Text": ("caption", "framelen", "seclen", "count-frame", "count-sec"),
    "Text-to-Text": (
        "caption-to-framelen",
        "caption-to-seclen",
        "framelen-to-caption",
        "seclen-to-caption",
        "random-caption",
    ),
    "Motion-to-Motion": ("motion_prediction", "motion_inbetween"),
}
EVALUATION_PROMPTS = {
    "Text-to-Motion/caption": "Generate motion: <Caption_Placeholder>",
    "Text-to-Motion/caption_framelen": "Generate motion with <Frame_Placeholder> frames: <Caption_Placeholder>",
    "Motion-to-Text/caption": "Generate text: <Motion_Placeholder>",
    "Motion-to-Text/framelen": "Generate text with <Frame_Placeholder> frames: <Motion_Placeholder>",
    "Motion-to-Motion/motion_prediction": "Predict motion: <Motion_Placeholder_s1>",
    "Motion-to-Motion/motion_inbetween": "Complete the masked motion: <Motion_Placeholder_Masked>",
}
PLAIN = DataConfig(quote_probability=0, token_drop_probability=0)


def _clip(tokens: int = 49, name: str = "walk") -> CaptionedClip:
    return CaptionedClip(name, torch.zeros(4 * tokens, 8), ("a person walks.",), 20.0, tokens=torch.arange(tokens))


def _set(tmp_path: Path, phrasing: str, output: str = "<Motion_Placeholder>") -> InstructionSet:
    return _file(tmp_path, {"G": {"task": {"class": "t2m", "input": [phrasing], "output": [output]}}})


def _file(tmp_path: Path, content: dict) -> InstructionSet:
    path = tmp_path / "templates.json"
    path.write_text(json.dumps(content))
    return InstructionSet.load(str(path))


def _draw(tmp_path: Path, phrasing: str, output: str = "<Motion_Placeholder>", clip=None, cfg=PLAIN, seed=0) -> Example:
    return _set(tmp_path, phrasing, output).draw("G/task", clip or _clip(), np.random.default_rng(seed), cfg)


def test_the_built_in_set_has_all_subtasks_and_enough_phrasings() -> None:
    instruct = InstructionSet.load("instruct")
    assert instruct.subtasks == tuple(f"{group}/{name}" for group, names in SUBTASKS.items() for name in names)
    assert not instruct.problems
    for name, template in instruct.templates.items():
        assert len({text.lower().strip(" .!?:") for text in template.inputs}) == len(template.inputs) >= 12, name
    for name, prompt in EVALUATION_PROMPTS.items():
        assert prompt in instruct.templates[name].inputs


def test_phrasings_have_the_placeholders_their_subtask_needs() -> None:
    for name, template in InstructionSet.load("instruct").templates.items():
        for side in (template.inputs, template.outputs):
            used = {frozenset(re.findall("<[^>]*>", text)) for text in side}
            assert len(used) == 1, f"{name}: phrasings differ in what they tell"


def test_the_pretraining_set_is_bare_pairs() -> None:
    pretrain = InstructionSet.load("pretrain")
    assert pretrain.subtasks == ("Text-to-Motion/t2m", "Motion-to-Text/m2t", "Motion-to-Motion/pred")
    assert pretrain.templates["Text-to-Motion/t2m"].inputs == ("<Caption_Placeholder>",)


def test_text_is_verbatim_and_joined_around_clips(tmp_path: Path) -> None:
    example = _draw(tmp_path, "Say <Caption_Placeholder> in <Frame_Placeholder>: <Motion_Placeholder> now")
    before, clip, after = example.prompt
    assert before == Text("Say a person walks. in 196: ", verbatim=True) and after == Text(" now", verbatim=True)
    assert isinstance(clip, Clip) and clip.tokens.tolist() == list(range(49)) and clip.start == 0
    assert example.num_frames == 196 and example.name == "walk"


def test_published_slices_of_a_clip_of_196_frames(tmp_path: Path) -> None:
    example = _draw(tmp_path, "<Motion_Placeholder_s1>", "<Motion_Placeholder_s2>")
    (head,), (rest,) = example.prompt, example.target
    assert head.tokens.tolist() == list(range(9)) and head.start == 0
    assert rest.tokens.tolist() == list(range(9, 49)) and rest.start == 36
    head, tail = _draw(tmp_path, "<Motion_Placeholder_Masked>").prompt
    assert head.tokens.tolist() == list(range(12)) and head.start == 0
    assert tail.tokens.tolist() == list(range(36, 49)) and tail.start == 144
    assert tail.start // 4 - len(head.tokens) == 24


@pytest.mark.parametrize("units", range(4, 60))
def test_cuts_follow_the_published_formula_wherever_it_leaves_something(units: int) -> None:
    assert prediction_cut(units) == max(1, int(0.2 * units + 1) - 1)
    head, tail = inbetween_cut(units)
    assert (head, tail) == (int(0.25 * units + 1) - 1, int(0.75 * units + 1) - 1)
    assert 0 < head < tail < units


def test_seconds_are_exact_unless_the_published_rounding_is_wanted(tmp_path: Path) -> None:
    assert _draw(tmp_path, "<Second_Placeholder>").prompt == (Text("9.8", verbatim=True),)
    compat = replace(PLAIN, compat_seconds=True)
    assert _draw(tmp_path, "<Second_Placeholder>", cfg=compat).prompt == (Text("9.0", verbatim=True),)


def test_captions_are_quoted_as_often_as_wanted(tmp_path: Path) -> None:
    texts = [
        _draw(tmp_path, "<Caption_Placeholder>", cfg=replace(PLAIN, quote_probability=0.5), seed=seed).prompt[0].text
        for seed in range(200)
    ]
    assert set(texts) == {"a person walks.", '"a person walks."'} and 70 < texts.count("a person walks.") < 130


def test_a_dropped_token_shortens_the_clip_at_either_end(tmp_path: Path) -> None:
    cfg = replace(PLAIN, token_drop_probability=1 / 3)
    kept = []
    for seed in range(300):
        example = _draw(tmp_path, "<Frame_Placeholder>", cfg=cfg, seed=seed)
        (clip,) = example.target
        assert example.num_frames == 4 * len(clip.tokens) and clip.start == 0
        assert example.prompt[0].text == str(example.num_frames)
        kept.append((int(clip.tokens[0]), int(clip.tokens[-1])))
    assert set(kept) == {(0, 48), (1, 48), (0, 47)} and 170 < kept.count((0, 48)) < 230


def test_a_clip_without_tokens_gives_features(tmp_path: Path) -> None:
    clip = CaptionedClip("walk", torch.arange(43.0)[:, None], ("walks",), 20.0)
    example = _draw(tmp_path, "<Motion_Placeholder_s1>", "<Motion_Placeholder_s2>", clip)
    assert example.prompt[0].features[:, 0].tolist() == list(range(8))
    assert example.target[0].features[:, 0].tolist() == list(range(8, 40)) and example.num_frames == 40


@pytest.mark.parametrize("frames", [15, 16, 17, 21, 43, 196])
@pytest.mark.parametrize("chance", [0.0, 1 / 3, 1.0])
def test_the_stretches_of_a_clip_are_exactly_those_that_drawing_gives(frames: int, chance: float) -> None:
    """Frames and posteriors are found by stretch; none that can be drawn is missing, none is kept in vain."""
    features = torch.arange(float(frames))[:, None]
    cfg = replace(PLAIN, token_drop_probability=chance)
    instruct = InstructionSet.load("instruct")
    for subtasks in (["Text-to-Motion/caption"], ["Motion-to-Motion/motion_prediction"], list(instruct.subtasks)):
        found = stretches(frames, instruct.motions(subtasks), cfg)
        table = {stretch: torch.full((2, 1, 3), float(i)) for i, stretch in enumerate(found)}
        drawn = set()
        for seed in range(60 * len(subtasks)):
            subtask, clips = subtasks[seed % len(subtasks)], []
            for tokens in (None, table):
                clip = CaptionedClip("walk", features, ("walks",), 20.0, tokens=tokens)
                example = instruct.draw(subtask, clip, np.random.default_rng(seed), cfg)
                clips.append([part for part in (*example.prompt, *example.target) if isinstance(part, Clip)])
            for raw, latent in zip(*clips, strict=True):
                stretch = int(raw.features[0]), int(raw.features[-1]) + 1
                assert latent.start == raw.start and latent.features is None
                assert torch.equal(latent.tokens, table[stretch])
                drawn.add(stretch)
        assert drawn == set(found)


def test_only_stretches_that_tasks_need_are_listed() -> None:
    instruct = InstructionSet.load("instruct")
    assert stretches(40, instruct.motions(["Text-to-Motion/caption"]), PLAIN) == ((0, 40),)
    assert instruct.motions(["Text-to-Text/random-caption"]) == frozenset()
    assert len(stretches(196, instruct.motions(instruct.subtasks), replace(PLAIN, token_drop_probability=0.5))) <= 15
    with pytest.raises(DataError, match="at least 3 units"):
        stretches(8, instruct.motions(["Motion-to-Motion/motion_inbetween"]), PLAIN)


def test_drawing_is_decided_by_the_generator() -> None:
    instruct = InstructionSet.load("instruct")
    drawn = [
        [instruct.draw("Text-to-Text/caption-to-framelen", _clip(), np.random.default_rng(seed), DataConfig()).prompt]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_unknown_placeholder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="G/task input: 'Do <Captoin_Placeholder>'.*you mean '<Caption_Placeholder>'"):
        _set(tmp_path, "Do <Captoin_Placeholder>")


def test_the_misspelt_placeholder_of_the_published_file_is_understood(tmp_path: Path) -> None:
    assert _draw(tmp_path, "<Framelen_Placeholder> frames").prompt == (Text("196 frames", verbatim=True),)


def test_empty_and_repeated_phrasings_are_left_out_and_named(tmp_path: Path) -> None:
    templates = _file(tmp_path, {"G": {"task": {"input": ["go", "", "go"], "output": ["<Motion_Placeholder>"]}}})
    assert templates.templates["G/task"].inputs == ("go",)
    assert [problem.message for problem in templates.problems] == [
        "G/task input: an empty phrasing, left out",
        "G/task input: repeated: 'go', left out",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no sub-task"),
        ([], "no template file"),
        ({"G": {"task": {"input": ["a"]}}}, "'G/task' needs a list of sentences 'output'"),
        ({"G": {"task": {"input": [""], "output": ["a"]}}}, "'G/task' has no 'input'"),
        ({"G": {"task": []}}, "is no object"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, content, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _file(tmp_path, content)


def test_unknown_names_are_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="use flow, instruct, pretrain.* or the path"):
        InstructionSet.load("instrct")
    with pytest.raises(ConfigError, match="did you mean 'Text-to-Motion/caption'"):
        InstructionSet.load("instruct").draw("Text-to-Motion/captoin", _clip(), np.random.default_rng(0), PLAIN)


def test_clips_too_short_for_a_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 3 units"):
        _draw(tmp_path, "<Motion_Placeholder_Masked>", clip=_clip(2))
    with pytest.raises(DataError, match="'walk' is shorter than one unit"):
        _draw(tmp_path, "go", clip=CaptionedClip("walk", torch.zeros(3, 8), ("walks",), 20.0))


@pytest.mark.parametrize(("given", "said"), [(0, "2"), (20, "1.5")])
def test_a_timed_stream_says_how_long_what_follows_is(given: int, said: str) -> None:
    timed = InstructionSet.load("stream_timed")
    assert timed.templates["Text-to-Motion/stream"] == InstructionSet.load("stream").templates["Text-to-Motion/stream"]
    clip = CaptionedClip("walk", torch.zeros(60, 8), ("a person walks.",), 30.0, history=given)
    cfg, rng = replace(PLAIN, unit_length=2), np.random.default_rng(0)
    told, lengths = set(), set()
    for _ in range(60):
        example = timed.draw("Text-to-Motion/stream_seclen", clip, rng, cfg)
        told |= {part.text for part in example.prompt if isinstance(part, Text)}
        lengths.add(tuple(len(part.features) for part in example.target))
    words = {"2": "two", "1.5": "one and a half"}[said]
    assert told == {f"a person walks {how} {number} seconds{stop}"
                    for how in ("for", "in") for number in (said, words) for stop in ("", ".")}  # fmt: skip
    assert lengths == {(60 - given,)}


def test_timed_templates_leave_the_draws_of_others_as_they_are(tmp_path: Path) -> None:
    plain, timed = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(20):
        one = InstructionSet.load("stream").draw("Text-to-Motion/stream", _clip(), plain, DataConfig())
        other = InstructionSet.load("stream_timed").draw("Text-to-Motion/stream", _clip(), timed, DataConfig())
        assert one.prompt == other.prompt and len(one.target[0].tokens) == len(other.target[0].tokens)
    assert plain.random() == timed.random()
