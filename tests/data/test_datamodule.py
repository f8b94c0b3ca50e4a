"""The data module: batches of windows and of examples, the same with any number of workers and after resuming."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from mld.data.datamodule import MotionDataModule
from mld.errors import ConfigError, DataError
from mld.example import CaptionedClip, Clip, Example, FeatureBatch
from tests.data.conftest import humanml3d_config, write_features

ONE_TASK = {"Text-to-Motion/caption": 1.0}


def _tokens(folder: Path) -> dict[str, torch.Tensor]:
    return {f"walk{i}": torch.arange(12) + 100 * i for i in range(4)}


def _module(folder: Path, kind: str = "features", tokens=None, **changes) -> MotionDataModule:
    settings = {"batch_size": 2, "window": 48, **changes}
    return MotionDataModule(humanml3d_config(folder, **settings), kind, seed=5, tokens=tokens)


def _same(a, b) -> bool:
    """Whether two batches of either kind are equal."""
    if isinstance(a, FeatureBatch):
        return a.names == b.names and torch.equal(a.features, b.features) and torch.equal(a.mask, b.mask)
    return [_plain(example) for example in a] == [_plain(example) for example in b]


def _plain(example: Example) -> tuple:
    parts = [
        (part.tokens.tolist(), part.start) if isinstance(part, Clip) else part.text
        for part in (*example.prompt, *example.target)
    ]
    return example.name, example.num_frames, parts


def test_feature_batches_are_windows_of_raw_features(humanml3d_folder: Path) -> None:
    module = _module(humanml3d_folder)
    batches = list(module.train_dataloader())
    assert [batch.features.shape for batch in batches] == [(2, 48, 263)] * 2
    assert all(batch.mask.all() for batch in batches)
    clips = {module.train_source[i].name: module.train_source[i].features for i in range(4)}
    whole, window = clips[batches[0].names[0]], batches[0].features[0]
    assert any(torch.equal(whole[start : start + 48], window) for start in range(len(whole) - 47))


def test_short_clips_are_padded_and_masked_or_dropped(humanml3d_folder: Path) -> None:
    write_features(humanml3d_folder, "walk0", 60)
    padded = next(iter(_module(humanml3d_folder, window=56, batch_size=4).train_dataloader()))
    assert padded.features.shape == (4, 56, 263)
    assert sorted(padded.mask.sum(1).tolist()) == [51, 52, 53, 56]
    assert (padded.features[~padded.mask] == 0).all()
    module = _module(humanml3d_folder, window=56, drop_short=True)
    assert set(next(iter(module.train_dataloader())).names) == {"walk0"}
    assert "3 clips shorter than the window of 56 frames unused" in module.report()
    with pytest.raises(DataError, match="every clip is shorter than the window of 64 frames"):
        _module(humanml3d_folder, window=64, drop_short=True).train_dataloader()


def test_without_a_window_clips_are_cropped_to_whole_units(humanml3d_folder: Path) -> None:
    batch = next(iter(_module(humanml3d_folder, window=None, batch_size=4).train_dataloader()))
    assert set(batch.mask.sum(1).tolist()) <= {44, 48, 52}


def test_example_batches_use_the_given_tokens(humanml3d_folder: Path) -> None:
    tokens = _tokens(humanml3d_folder)
    module = _module(humanml3d_folder, "examples", tokens, tasks=ONE_TASK, token_drop_probability=0)
    for example in (example for batch in module.train_dataloader() for example in batch):
        (clip,) = example.target
        assert torch.equal(clip.tokens, tokens[example.name]) and example.num_frames == 48


def test_alternative_tokens_are_drawn(humanml3d_folder: Path) -> None:
    tokens = {name: torch.stack([values, values + 50]) for name, values in _tokens(humanml3d_folder).items()}
    module = _module(humanml3d_folder, "examples", tokens, tasks=ONE_TASK, token_drop_probability=0)
    loader, drawn = module.train_dataloader(), set()
    for epoch in range(10):
        loader.batch_sampler.set_epoch(epoch)
        drawn |= {int(example.target[0].tokens[0]) for batch in loader for example in batch}
    assert drawn == {0, 50, 100, 150, 200, 250, 300, 350}


def test_a_clip_without_tokens_is_an_error_that_names_it(humanml3d_folder: Path) -> None:
    module = _module(humanml3d_folder, "examples", {"walk0": torch.arange(12)})
    with pytest.raises(DataError, match="no motion tokens for clip 'walk[123]'"):
        list(module.train_dataloader())


def test_validation_gives_whole_clips_in_order(humanml3d_folder: Path) -> None:
    (batch,) = _module(humanml3d_folder).test_dataloader()
    assert [clip.name for clip in batch] == ["turn0", "turn1"] and isinstance(batch[0], CaptionedClip)
    (batch,) = _module(humanml3d_folder).val_dataloader()
    assert [clip.num_frames for clip in batch] == [54]


@pytest.mark.parametrize("kind", ["features", "examples"])
def test_batches_do_not_depend_on_the_number_of_workers(humanml3d_folder: Path, kind: str) -> None:
    tokens = _tokens(humanml3d_folder)
    alone, helped = (list(_module(humanml3d_folder, kind, tokens, num_workers=n).train_dataloader()) for n in (0, 2))
    assert len(alone) == len(helped) == 2
    assert all(_same(a, b) for a, b in zip(alone, helped))


@pytest.mark.parametrize(("kind", "workers"), [("features", 0), ("examples", 2)])
def test_resuming_gives_the_batches_of_an_uninterrupted_run(humanml3d_folder: Path, kind: str, workers: int) -> None:
    tokens = _tokens(humanml3d_folder)

    def loader():
        return _module(humanml3d_folder, kind, tokens, batch_size=1, num_workers=workers).train_dataloader()

    whole = loader()
    whole.batch_sampler.set_epoch(2)
    expected = list(whole)
    interrupted = loader()
    interrupted.batch_sampler.set_epoch(2)
    used = list(islice(interrupted, 1))
    resumed = loader()
    resumed.batch_sampler.load_state_dict(interrupted.batch_sampler.state_dict(consumed=1))
    resumed.batch_sampler.set_epoch(2)
    got = used + list(resumed)
    assert len(got) == len(expected) == len(resumed) == 4 and all(_same(a, b) for a, b in zip(got, expected))


def test_an_unknown_task_is_refused_before_training(humanml3d_folder: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'Text-to-Motion/caption'"):
        _module(humanml3d_folder, "examples", tasks={"Text-to-Motion/captions": 1}).train_dataloader()
