"""Training on several sources, and runs that go on where they were counted in items."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mld.data.config import DataConfig
from mld.errors import ConfigError
from mld.training.callbacks import Stopped
from mld.training.data import Sources, TrainingData
from mld.training.run_config import load_runs
from mld.training.run_folder import open_run
from mld.training.stages import run_stages
from tests.training.test_resume import assert_same, stop_after

ROOT = Path(__file__).parents[2]
MIXED = """
extends: {stage}.yaml
data:
  source: procedural
  root: ""
  batch_size: 8
  num_workers: 0
  sources:
    - {{source: joints, root: {root}, name: walks, weight: 3}}
    - {{source: procedural, procedural_size: 14, procedural_seed: 1, name: made}}
    - {{source: procedural, procedural_size: 8, procedural_seed: 2, name: more}}
"""


@pytest.fixture
def mixed(configs, dataset):
    """The configs of `configs` over 40 clips of three sources; epochs of 5 batches."""
    for stage in ("tokenizer", "pretrain"):
        (configs / f"mixed_{stage}.yaml").write_text(MIXED.format(stage=stage, root=dataset))
    return configs


def data_of(config, batch_size=8, world_size=1, rank=0) -> TrainingData:
    """The data of a run on one of several devices, the trainer a stand-in that says so."""
    config.data.batch_size = batch_size
    data = TrainingData(config.data, "features", config.seed, max_validation_clips=3, sources=SOURCES)
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=None)
    return data


SOURCES = Sources()


def used(data: TrainingData, batches: int) -> None:
    """Tell the data that the trainer has used so many batches in all."""
    data.trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=batches - 1))


def names(data: TrainingData, batches: int) -> list[str]:
    return [name for batch in islice(data.train_dataloader(), batches) for name in batch.names]


def test_three_steps_and_three_more_equal_six_with_several_sources(mixed, tmp_path, monkeypatch):
    settings = [f"output={tmp_path / 'straight'}", "training.ema=0.9"]
    run_stages(load_runs(mixed / "mixed_tokenizer.yaml", settings))
    settings += [f"output={tmp_path / 'broken'}", "data.num_workers=2"]
    broken = load_runs(mixed / "mixed_tokenizer.yaml", settings)
    with monkeypatch.context() as patch:
        stop_after(patch, step=3)
        with pytest.raises(Stopped, match="after step 3 of 6"):
            run_stages(broken)
    run_stages(broken)
    assert_same(tmp_path / "straight" / "tokenizer", tmp_path / "broken" / "tokenizer")


def test_a_run_tells_its_sources_and_trains_a_generator_on_all_of_them(mixed, capsys):
    short = ["training.max_steps=2", "training.samples=0"]
    folder = run_stages(load_runs(mixed / "mixed_tokenizer.yaml", short))[0]
    printed = capsys.readouterr().out
    assert "  train   mixture train of walks, made, more: 40 clips" in printed and " 60%  walks: " in printed
    assert "  val     mixture val of walks, made, more: 6 clips" in printed
    told = json.loads((folder / "provenance.json").read_text())["data"]
    assert "20%  made: procedural train: 14 clips" in told
    folder = run_stages(load_runs(mixed / "mixed_pretrain.yaml", [*short, f"init_from={folder}"]))[0]
    assert (folder / "model.safetensors").is_file()


def test_other_weights_are_another_run(mixed):
    runs = load_runs(mixed / "mixed_tokenizer.yaml", ["training.max_steps=1", "training.samples=0"])
    run_stages(runs)
    with pytest.raises(ConfigError, match="'data.sources' cannot change in a run that goes on"):
        open_run(runs[0].folder).resumed(["data.sources=[]"])
    text = (mixed / "mixed_tokenizer.yaml").read_text().replace("weight: 3", "weight: 4")
    (mixed / "mixed_tokenizer.yaml").write_text(text)
    with pytest.raises(ConfigError, match="with other settings .*data.sources"):
        run_stages(load_runs(mixed / "mixed_tokenizer.yaml", ["training.max_steps=1", "training.samples=0"]))


@pytest.mark.parametrize("file", ["tokenizer", "mixed_tokenizer"])
@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 1), (4, 2), (2, 1), (2, 3), (16, 1)])
def test_a_run_goes_on_with_other_devices_or_batches_where_its_items_end(mixed, file, batch_size, world_size):
    """No clip of the epoch is served twice, and no more are left out than do not fill a batch."""
    config = load_runs(mixed / f"{file}.yaml")[0]
    first = data_of(config, batch_size=2)
    before = names(first, 5)
    used(first, 5)
    state = first.state_dict()
    assert state["items"] == 10 and state["epoch"] == 0
    assert len(first.served()) == (3 if config.data.sources else 0) and sum(first.served().values()) in (0, 10)

    ranks = [data_of(config, batch_size, world_size, rank) for rank in range(world_size)]
    for each in ranks:
        each.load_state_dict(state)
    left, step = len(first.train_set) - 10, batch_size * world_size
    batches = -(-left // step) if config.data.sources else left // step  # a mixture fills the last batch of an epoch
    rest = [name for each in ranks for name in names(each, batches)]
    assert len(rest) == batches * step
    if config.data.sources:  # in an epoch a clip may come again, after all others of its source
        clips = [first.train_source[i].name for i in range(len(first.train_source))]
        counts = {name: (before + rest).count(name) for name in clips}
        for part in ("walks", "made", "more"):
            times = [count for name, count in counts.items() if name.startswith(part)]
            assert max(times) - min(times) <= 1
    else:
        assert len({*before, *rest}) == len(before) + len(rest) > len(first.train_set) - step
    for each in ranks:
        used(each, 5 + batches)
    assert {each.state_dict()["items"] for each in ranks} == {10 + batches * step}


@pytest.mark.parametrize("file", ["tokenizer", "mixed_tokenizer"])
def test_a_state_of_batches_alone_still_goes_on(mixed, file):
    config = load_runs(mixed / f"{file}.yaml")[0]
    stream = names(data_of(config, batch_size=4), 30)
    old = data_of(config, batch_size=4)
    old.load_state_dict({"batches_used": 13})
    assert names(old, 17) == stream[13 * 4 :]
    used(old, 20)
    new = data_of(config, batch_size=4)
    new.load_state_dict(old.state_dict())
    assert names(new, 10) == stream[20 * 4 :]


def test_statistics_are_those_of_all_clips_whatever_their_weight(mixed):
    from mld.training.networks import make_normalizer

    config = load_runs(mixed / "mixed_tokenizer.yaml")[0]
    one = make_normalizer(config, data_of(config))
    config.data.sources[0].weight = 0.5
    assert torch.equal(make_normalizer(config, data_of(config)).std, one.std)


def test_a_trial_run_makes_few_clips_of_every_source(mixed):
    sizes = [entry.procedural_size for entry in load_runs(mixed / "mixed_tokenizer.yaml")[0].data.shortened(10).sources]
    assert sizes == [None, 10, 8]


def test_the_quickstart_mixture_and_the_way_back_to_one_source():
    file = ROOT / "configs" / "quickstart" / "mixed_tokenizer.yaml"
    entries = load_runs(file)[0].data.entries()
    assert [(entry.name, own.procedural_size) for _, entry, own in entries] == [("made", 1200), ("seldom", 200)]
    one = load_runs(file, ["data.sources=[]", "data.procedural_seed=4"])
    assert one[0].data == DataConfig(batch_size=32, procedural_size=1200, procedural_seed=4)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_model_whose_lengths_count_tokens_is_trained_on_such_templates(configs, monkeypatch, legacy):
    """One setting of the model reaches the wording of a length and the cuts of its clips."""
    import mld.training.stages as stages

    (parent,) = run_stages(load_runs(configs / "tokenizer.yaml", ["training.max_steps=1", "training.samples=0"]))
    seen, make = [], stages.make_trainer
    monkeypatch.setattr(stages, "make_trainer", lambda *given: seen.append(given[2]) or make(*given))
    chosen = ["training.max_steps=1", "training.samples=0", f"model.legacy_token_lengths={legacy}"]
    chosen.append(f"init_from={parent}")
    run_stages(load_runs(configs / "pretrain.yaml", chosen))
    assert [data.cfg.legacy_token_lengths for data in seen] == [legacy]


def test_latents_of_clips_cut_anywhere_are_not_kept(configs):
    short = ["training.max_steps=1", "training.samples=0"]
    (vae,) = run_stages(load_runs(configs / "vae.yaml", short))
    settings = [*short, "data.cut=frame", f"init_from={vae}"]
    with pytest.raises(ConfigError, match="training.cache_latents=false"):
        run_stages(load_runs(configs / "latents.yaml", settings))
    assert run_stages(load_runs(configs / "latents.yaml", [*settings, "training.cache_latents=false"]))
