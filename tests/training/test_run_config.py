"""Stage lists: which run starts from which model, and whom an override is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.data.instructions import InstructionSet
from mld.data.mixture import Mixture
from mld.errors import ConfigError
from mld.training.run_config import load_runs

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


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_steps=0", "max_steps is 0, expected at least 1"),
        ("model.lm.backbonne=t5", "unknown key 'model.lm.backbonne'; did you mean 'backbone'?"),
        ("training.scheduler.name=cosinus", "did you mean 'cosine'?"),
    ],
)
def test_mistakes_in_a_stage_list(configs, override, message):
    with pytest.raises(ConfigError) as caught:
        load_runs(configs / "all.yaml", [override])
    assert message in str(caught.value)
