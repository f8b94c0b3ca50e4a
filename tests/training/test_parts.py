"""The parts of a training run: learning rate, averaged weights, the endless loader, metrics file, statistics."""

from __future__ import annotations

import re
from itertools import islice

import pytest
import torch
from torch import nn

from mld.checkpoint import load_model
from mld.data.config import DataConfig
from mld.errors import ConfigError
from mld.training.data import SomeClips, Sources, TrainingData
from mld.training.generator_module import GeneratorModule
from mld.training.logs import MetricsFile
from mld.training.networks import make_network, make_normalizer
from mld.training.optimization import make_optimizer, make_scheduler, rate_factor
from mld.training.run_config import OptimizerConfig, SchedulerConfig, load_runs
from mld.training.stages import run_stages


def data_of(config, kind="features"):
    return TrainingData(config.data, kind, config.seed, max_validation_clips=3, sources=Sources())


def test_learning_rate_rises_then_falls_to_its_end():
    config = SchedulerConfig("cosine", warmup_steps=10, final_ratio=0.1)
    rates = [rate_factor(config, step, 100) for step in range(101)]
    assert rates[:10] == sorted(rates[:10]) and rates[0] > 0
    assert rates[10] == pytest.approx(1.0) and rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:]))
    assert rate_factor(SchedulerConfig("linear", final_ratio=0.0), 50, 100) == pytest.approx(0.5)
    assert rate_factor(SchedulerConfig("constant"), 99, 100) == 1.0


class Grouped(nn.Module):
    """Two groups that are trained, and one that is frozen."""

    def __init__(self):
        super().__init__()
        self.branch, self.head, self.text = nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(2, 2).requires_grad_(False)

    def parameter_groups(self):
        return {"text": [], "branch": [*self.branch.parameters()], "head": [*self.head.parameters()]}


def test_rates_fall_at_milestones_and_warm_up_as_published() -> None:
    steps = SchedulerConfig("steps", warmup_steps=4, milestones=[10, 20], gamma=0.1)
    assert rate_factor(steps, 13, 100) == 1.0 and rate_factor(steps, 14, 100) == pytest.approx(0.1)
    assert rate_factor(steps, 24, 100) == pytest.approx(0.01)
    zero = SchedulerConfig("cosine", "from_zero", warmup_steps=10, final_ratio=0.0)
    assert rate_factor(zero, 0, 100) == 0.0 and rate_factor(zero, 10, 100) == 1.0
    kept = SchedulerConfig("constant", "kept", warmup_steps=999)
    assert rate_factor(kept, 0, 9999) == pytest.approx(2 / 1001)
    assert rate_factor(kept, 5000, 9999) == pytest.approx(1000 / 1001)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "steps"}, "milestones"), ({"name": "cosine", "milestones": [5]}, "milestones"),
        ({"name": "steps", "milestones": [20, 10]}, "rising"), ({"name": "steps", "milestones": [0]}, "rising"),
        ({"name": "steps", "milestones": [5], "gamma": 0.0}, "gamma"),
    ],
)  # fmt: skip
def test_schedules_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SchedulerConfig(**settings)



def test_optimizer_settings_are_checked(configs):
    network = make_network(config := load_runs(configs / "tokenizer.yaml")[0], data_of(config))
    optimizer = make_optimizer(network, OptimizerConfig("SGD", {"lr": 0.1}))
    assert isinstance(optimizer, torch.optim.SGD) and len(optimizer.param_groups) == 1
    assert len(optimizer.param_groups[0]["params"]) == len(list(network.parameters()))
    with pytest.raises(ConfigError, match="training.optimizer.params: SGD: .*learning_rate"):
        make_optimizer(network, OptimizerConfig("SGD", {"learning_rate": 0.1}))


def test_a_group_has_its_own_rate_which_the_schedule_keeps_in_proportion():
    config = OptimizerConfig("AdamW", {"lr": 0.1}, {"head": {"lr": 0.3, "betas": [0.8, 0.9]}})
    optimizer = make_optimizer(Grouped(), config)
    branch, head = optimizer.param_groups
    assert (branch["name"], head["name"]) == ("branch", "head") and tuple(head["betas"]) == (0.8, 0.9)
    make_scheduler(optimizer, SchedulerConfig("constant", warmup_steps=1), 10)
    assert (branch["lr"], head["lr"]) == (pytest.approx(0.05), pytest.approx(0.15))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"haed": {"lr": 1.0}}, "group 'haed' of Grouped does not exist; did you mean 'head'?"),
        ({"text": {"lr": 1.0}}, "group 'text' of Grouped is frozen"),
        ({"head": {"lrr": 1.0}}, "AdamW has no setting 'lrr'; did you mean 'lr'?"),
    ],
)
def test_settings_of_groups_are_checked(groups, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_optimizer(Grouped(), OptimizerConfig("AdamW", {"lr": 0.1}, groups))


def test_a_network_whose_groups_leave_something_out_is_refused():
    network = Grouped()
    network.text.requires_grad_(True)
    with pytest.raises(TypeError, match="holds 4 of 6 trained parameters"):
        make_optimizer(network, OptimizerConfig())


def test_a_fall_may_be_longer_than_the_run():
    config = SchedulerConfig("cosine", warmup_steps=10, final_ratio=0.0, fall_steps=200)
    assert rate_factor(config, 110, 110) == pytest.approx(0.5) and rate_factor(config, 300, 110) == pytest.approx(0.0)
    rising = SchedulerConfig("cosine", warmup_steps=10, final_ratio=0.0, fall_steps=200, rises_again=True)
    for beyond in (0, 7, 50):
        assert rate_factor(rising, 210 + beyond, 999) == pytest.approx(rate_factor(rising, 210 - beyond, 999))
    assert rate_factor(config, 260, 999) == 0.0 < rate_factor(rising, 260, 999)
    with pytest.raises(ValueError, match="rises_again is for a cosine with fall_steps"):
        SchedulerConfig("cosine", rises_again=True)
    with pytest.raises(ValueError, match="fall_steps is 0"):
        SchedulerConfig(fall_steps=0)


def test_the_endless_loader_starts_anywhere_in_the_same_stream(configs):
    config = load_runs(configs / "tokenizer.yaml")[0]

    def names(start, number):
        data = data_of(config)
        data.batches_used = start
        return [batch.names for batch in islice(data.train_dataloader(), number)]

    stream = names(0, 12)  # 18 clips in batches of 4: epochs of 4 batches
    assert names(6, 6) == stream[6:]
    assert stream[:4] != stream[4:8]


def test_validation_clips_are_spread_and_stages_share_opened_sources(configs):
    config, later = load_runs(configs / "all.yaml")[:2]
    sources = Sources()
    first = TrainingData(config.data, "features", 0, max_validation_clips=2, sources=sources)
    second = TrainingData(later.data, "examples", 0, max_validation_clips=2, sources=sources)
    assert first.train_source is second.train_source
    assert [clip.name for clip in (first.val_source[0], first.val_source[1])] == ["c18", "c21"]
    assert len(SomeClips(first.train_source, 100)) == 18
    other = DataConfig(**{**vars(config.data), "min_frames": 40})
    assert sources.open(other, "train") is not first.train_source


def test_metrics_file_drops_rows_that_an_interruption_undid(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path)
    for step in range(5):
        first.log_metrics({"train/loss": step, "epoch": 0}, step)
    first.finalize("success")
    again = MetricsFile(path, start=3)
    again.log_metrics({"val/loss": 0.5}, 3)
    assert path.read_text().split() == ["step,train/loss,val/loss", "1,0,", "2,1,", "3,2,", "4,,0.5"]


def test_metrics_are_appended_and_a_row_cut_short_is_mended(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path)
    first.log_metrics({"train/loss": 0.5}, 0)
    inode = path.stat().st_ino
    for step in range(1, 50):
        first.log_metrics({"train/loss": step}, step)
    assert path.stat().st_ino == inode, "the file was written anew though no column came"
    first.log_metrics({"val/loss": 7}, 49)
    first.log_metrics({"val/loss": 7}, 49)
    assert path.read_text().splitlines()[-1] == "50,49,7" and len(path.read_text().splitlines()) == 51
    with open(path, "a") as file:
        file.write("51,1")
    again = MetricsFile(path, start=60)
    again.log_metrics({"train/loss": 3}, 50)
    assert path.read_text().splitlines()[-2:] == ["50,49,7", "51,3,"]
    path.unlink()
    again.log_metrics({"train/loss": 3}, 51)
    assert path.read_text().split() == ["step,train/loss", "52,3"]


def test_statistics_follow_their_settings(configs):
    def std(*settings):
        config = load_runs(configs / "tokenizer.yaml", settings)[0]
        return make_normalizer(config, data_of(config)).std

    plain, biased = std("normalizer.feature_bias=1"), std("normalizer.feature_bias=25")
    assert torch.allclose(plain[:4], 25 * biased[:4]) and torch.equal(plain[4:67], biased[4:67])
    spread = std("normalizer.feature_bias=1", "normalizer.spread={joint_rotations: 10}")
    assert torch.allclose(spread[67:193], 10 * plain[67:193]) and torch.equal(spread[:67], plain[:67])
    with pytest.raises(ConfigError, match="no 'joint_rotation'; did you mean 'joint_rotations'"):
        std("normalizer.spread={joint_rotation: 10}")


def test_data_and_tokenizer_have_to_agree(configs):
    config = load_runs(configs / "tokenizer.yaml", ["tokenizer.down_t=1"])[0]
    with pytest.raises(ConfigError, match="set data.unit_length=2"):
        make_network(config, data_of(config))
    config = load_runs(configs / "vae.yaml", ["tokenizer.max_positions=99"])[0]
    with pytest.raises(ConfigError, match="data.max_frames is 199.*at most 97 frames"):
        make_network(config, data_of(config))


def test_a_later_stage_trains_with_dropout_and_its_own_settings(configs, monkeypatch):
    """A network from a model folder arrives in eval mode with its old settings; training needs neither."""
    folder = run_stages(load_runs(configs / "tokenizer.yaml", ["training.max_steps=1"]))[0]
    stage = ["training.max_steps=1", "training.validate_every_steps=9"]
    folder = run_stages(load_runs(configs / "pretrain.yaml", [*stage, f"init_from={folder}"]))[0]
    seen = []
    original = GeneratorModule.training_step

    def watched(self, batch, batch_idx):
        seen.append((self.network.training, self.network.tokenizer.training, self.network.config.quote_probability))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(GeneratorModule, "training_step", watched)
    later = load_runs(configs / "instruct.yaml", [*stage, f"init_from={folder}", "model.quote_probability=0.25"])
    folder = run_stages(later)[0]
    assert seen == [(True, False, 0.25)]
    assert load_model(folder).config.quote_probability == 0.25
