"""Stage lists: which run starts from which model, and whom an override is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mld.data.instructions import InstructionSet
from mld.data.mixture import Mixture
from mld.errors import ConfigError
from mld.training.parallel import make_strategy
from mld.training.run_config import ParallelConfig, load_runs
from mld.training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", ["quickstart/all", "quickstart/motiongpt3_all", "motiongpt/all", "motiongpt3/all", "cmu/all"]
)
def test_shipped_configs_load_and_chain(path):
    runs = load_runs(ROOT / "configs" / f"{path}.yaml", ["data.root=anywhere", "output=elsewhere"])
    assert runs[0].stage == "tokenizer" and runs[-1].stage == "instruct"
    for earlier, later in zip(runs, runs[1:]):
        assert later.init_from == str(earlier.folder / "model") and later.output == "elsewhere"


def test_the_stages_of_motiongpt3_freeze_and_weigh_as_published():
    runs = load_runs(ROOT / "configs" / "motiongpt3" / "all.yaml", ["data.root=anywhere"])[1:]
    rows = [(r.model.config.frozen, r.losses["gpt_loss"], r.losses["diff_loss"], r.training.optimizer) for r in runs]
    first, rest = (["text"], 0.0, 1.0), (["text"], 1.0, 0.5)
    assert [row[:3] for row in rows] == [first, rest, rest, ([], 1.0, 0.5)]
    rates = [(optimizer.params["lr"], optimizer.groups["head"]["lr"]) for *_, optimizer in rows]
    assert rates == [(1e-4, 2e-4), (1e-4, 1e-4), (8e-5, 8e-5), (1e-5, 1e-5)]
    drawn = [Mixture(InstructionSet.load(r.data.instructions).subtasks, r.data.tasks).drawn for r in runs]
    assert [len(names) for names in drawn] == [1, 3, 9, 14]


def test_debug_runs_chain_among_themselves():
    runs = load_runs(ROOT / "configs" / "quickstart" / "all.yaml", ["debug=true"])
    assert [run.init_from for run in runs[1:]] == [
        "runs/debug/quickstart/tokenizer/model",
        "runs/debug/quickstart/pretrain/model",
    ]
    assert all(run.training.max_steps == 20 for run in runs)


def test_a_stage_without_init_from_starts_from_the_one_before(configs):
    runs = load_runs(configs / "all.yaml")
    assert runs[1].init_from == str(runs[0].folder / "model") and runs[2].init_from == str(runs[1].folder / "model")


def test_an_override_of_a_section_is_for_the_stages_that_have_it(configs):
    runs = load_runs(configs / "all.yaml", ["tokenizer.width=24", "model.quote_probability=0", "losses.gpt_loss=2"])
    assert runs[0].tokenizer.config.width == 24 and runs[0].model is None
    assert runs[1].tokenizer is None and runs[1].model.config.quote_probability == 0.0


def test_where_a_run_trains_may_be_said_in_the_old_place(configs):
    old = load_runs(configs / "tokenizer.yaml", ["training.devices=2", "training.precision=bf16-mixed"])[0].training
    new = ["training.parallel.devices=2", "training.parallel.precision=bf16-mixed"]
    assert old == load_runs(configs / "tokenizer.yaml", new)[0].training
    assert old.parallel.accelerator == "cpu", "as the file says, in the old place"
    runs = load_runs(configs / "all.yaml", new)
    assert all(run.training.parallel.devices == 2 for run in runs)


def test_saying_it_twice_is_a_mistake(configs):
    file = configs / "twice.yaml"
    file.write_text("extends: tokenizer.yaml\ntraining: {precision: bf16-mixed, parallel: {precision: 32-true}}")
    message = "twice.yaml: 'training.precision' is given as 'training.parallel.precision', too"
    with pytest.raises(ConfigError, match=message):
        load_runs(file)
    with pytest.raises(ConfigError, match="command line: 'training.devices' is given"):
        load_runs(configs / "tokenizer.yaml", ["training.devices=2", "training.parallel.devices=2"])


def test_a_run_folder_of_an_earlier_version_goes_on(configs):
    """Its config has the old keys; whoever changes them may do so by either name."""
    run = run_of(configs)
    text = run.config_file.read_text()
    start, stop = text.index("  parallel:\n"), text.index("  compile:")
    old = "  precision: 32-true\n  accelerator: cpu\n  devices: 1\n"
    run.config_file.write_text(text[:start] + old + text[stop:].replace("  compile: false\n", ""))
    config = load_runs(configs / "tokenizer.yaml")[0]
    run.check_same(config, "")
    assert run.resumed([]).training == config.training
    for name in ("training.devices", "training.parallel.devices"):
        assert run.resumed([f"{name}=2"]).training.parallel.devices == 2
    with pytest.raises(ConfigError, match="training.parallel.precision '32-true' -> 'bf16-mixed'"):
        run.check_same(load_runs(configs / "tokenizer.yaml", ["training.precision=bf16-mixed"])[0], "")


def test_a_generator_run_of_an_earlier_version_goes_on(configs):
    """Its config had room for the tokenizer of a model folder."""
    override = [f"init_from={configs}"]
    run = run_of(configs, "pretrain.yaml", override)
    text = run.config_file.read_text()
    assert "model:\n  family: motiongpt\n" in text
    run.config_file.write_text(text.replace("  family: motiongpt\n", "  family: motiongpt\n  tokenizer: {}\n"))
    run.check_same(load_runs(configs / "pretrain.yaml", override)[0], "")


def run_of(configs, file: str = "tokenizer.yaml", overrides=()) -> RunFolder:
    config = load_runs(configs / file, overrides)[0]
    run = RunFolder(config.folder)
    run.begin(config)
    return run


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "str"),
        ({"devices": 2}, "DDPStrategy"),
        ({"num_nodes": 2}, "DDPStrategy"),
        ({"strategy": "ddp"}, "DDPStrategy"),
        ({"devices": 2, "strategy": "fsdp2"}, "Shards"),
        ({"devices": 2, "strategy": "deepspeed_stage_2"}, "str"),
    ],
)
def test_strategies(settings, kind):
    assert type(make_strategy(ParallelConfig(**settings))).__name__ == kind


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "fsdp-2"}, "training.parallel.strategy is 'fsdp-2'; did you mean 'fsdp2'?"),
        ({"strategy": "deepspeed_stage_3"}, "is 'deepspeed_stage_3': a model folder cannot be written of its shards"),
        ({"strategy": "fsdp2", "devices": 2, "precision": "16-mixed"}, "fsdp2 has no precision 16-mixed"),
        ({"strategy": "ddp", "checkpoint": "sharded"}, "checkpoint 'sharded' is for strategy fsdp2"),
    ],
)
def test_mistakes_of_strategies(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_strategy(ParallelConfig(**settings))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.parallel.devices=0", "devices is 0, expected at least 1"),
        ("training.compile=max-autotun", "compile is 'max-autotun', no mode of torch.compile; did you mean 'max-auto"),
        ("training.max_steps=0", "max_steps is 0, expected at least 1"),
        ("model.lm.backbonne=t5", "unknown key 'model.lm.backbonne'; did you mean 'backbone'?"),
        ("training.scheduler.name=cosinus", "did you mean 'cosine'?"),
    ],
)
def test_mistakes_in_a_stage_list(configs, override, message):
    with pytest.raises(ConfigError) as caught:
        load_runs(configs / "all.yaml", [override])
    assert message in str(caught.value)
