"""Reference motions in instructions: words or a motion are the condition, as the mixture or the clip weighs them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig
from mld.data.datamodule import InstructionExamples, MotionDataModule
from mld.data.instructions import InstructionSet
from mld.data.mixture import Mixture
from mld.errors import DataError
from mld.example import CaptionedClip, Clip, Example, Reference, Text
from mld.motion.representations.registry import get_representation

FLOW = {"instructions": "flow", "quote_probability": 0.0, "token_drop_probability": 0.0, "unit_length": 1}
CFG = DataConfig(
    representation="motion276", tasks={"Text-to-Motion": 0.8, "Motion-to-Motion": 0.2}, procedural_size=16, **FLOW
)
DRAWS = 3000


class OneClip:
    """A source of one clip."""

    def __init__(self, **parts) -> None:
        features = torch.randn(50, 276, generator=torch.Generator().manual_seed(0))
        self.clip = CaptionedClip("walk", features, ("a person walks",), 20.0, **parts)
        self.name, self.representation, self.fps, self.problems = "one", "motion276", 20.0, []
        self.lengths = np.array([50])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> CaptionedClip:
        return self.clip


def _examples(cfg: DataConfig = CFG, **parts) -> list[Example]:
    examples = InstructionExamples(OneClip(**parts), cfg, None)
    return [examples[0, seed] for seed in range(DRAWS)]


def _refers(example: Example) -> bool:
    return any(isinstance(part, Reference) for part in example.prompt)


def _share(examples: list[Example]) -> float:
    return float(np.mean([not _refers(example) for example in examples]))


def test_a_reference_is_the_motion_itself_and_no_part_of_the_answer() -> None:
    clip = OneClip().clip
    drawn = InstructionSet.load("flow").draw("Motion-to-Motion/refine", clip, np.random.default_rng(0), CFG)
    (reference,), (answer,) = drawn.prompt, drawn.target
    assert isinstance(reference, Reference) and torch.equal(reference.features, clip.features)
    assert isinstance(answer, Clip) and torch.equal(answer.features, clip.features)


def test_another_motion_may_stand_for_the_clip_as_reference() -> None:
    clip = OneClip(reference=torch.ones(50, 276)).clip
    drawn = InstructionSet.load("flow").draw("Motion-to-Motion/refine", clip, np.random.default_rng(0), CFG)
    assert drawn.prompt[0].features.eq(1).all() and torch.equal(drawn.target[0].features, clip.features)


def test_a_cut_clip_has_the_same_frames_of_its_reference() -> None:
    cut = replace(CFG, token_drop_probability=1.0, cut="frame", unit_length=8)
    lengths = set()
    for example in _examples(replace(cut, tasks={"Motion-to-Motion": 1.0})):
        assert torch.equal(example.prompt[0].features, example.target[0].features)
        lengths.add(len(example.target[0].features))
    assert lengths == {40, 48}


def test_captions_are_taken_as_they_are() -> None:
    drawn = InstructionSet.load("flow").draw("Text-to-Motion/t2m", OneClip().clip, np.random.default_rng(0), CFG)
    (text,) = drawn.prompt
    assert text == Text("a person walks", verbatim=True)


def test_an_answer_is_no_reference(tmp_path) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"G": {"t": {"input": ["<Caption_Placeholder>"], "output": ["<Reference_Placeholder>"]}}}')
    with pytest.raises(DataError, match="sub-task 'G/t': <Reference_Placeholder> is a condition, in 'output' it is"):
        InstructionSet.load(str(path))


def test_task_weights_choose_the_condition() -> None:
    assert _share(_examples()) == pytest.approx(0.8, abs=0.03)


def test_a_clip_with_noisy_captions_is_drawn_with_its_own_share() -> None:
    assert _share(_examples(text_share=0.4)) == pytest.approx(0.4, abs=0.03)
    assert _share(_examples(text_share=0.0)) == 0.0


def test_a_share_of_words_changes_nothing_where_there_is_no_choice() -> None:
    assert _share(_examples(replace(CFG, tasks={"Text-to-Motion": 1.0}), text_share=0.1)) == 1.0


def test_kinds_keep_their_proportions_under_a_share_of_words() -> None:
    mixture = Mixture(["a/x", "a/y", "b/z"], {"a/x": 3, "a/y": 1, "b": 4}, referring={"b/z"})
    assert mixture.shares().tolist() == [0.375, 0.125, 0.5]
    np.testing.assert_allclose(mixture.shares(0.2), [0.15, 0.05, 0.8])


def test_blocks_that_are_not_trusted_are_left_out_of_examples_of_words_alone() -> None:
    trusted = frozenset(get_representation("motion276").roles["rotations"])
    for example in _examples(supervised=trusted):
        assert example.supervised == (None if _refers(example) else trusted)


@pytest.mark.parametrize("workers", [0, 2])
def test_draws_follow_from_the_sampler_and_go_on_where_a_training_stopped(workers: int) -> None:
    def told(batches) -> list:
        return [[(one.name, _refers(one)) for one in batch] for batch in batches]

    def loader():
        return MotionDataModule(replace(CFG, batch_size=4, num_workers=workers), "examples", seed=3).train_dataloader()

    whole, again = loader(), loader()
    first = told(whole)
    kinds = {refers for batch in first for _, refers in batch}
    assert kinds == {True, False}
    again.batch_sampler.load_state_dict(whole.batch_sampler.state_dict(2))
    assert told(again) == first[2:]
    whole.batch_sampler.set_epoch(1)
    assert told(whole) != first
