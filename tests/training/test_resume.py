"""An interrupted run that goes on ends with the very weights of an uninterrupted one."""

from __future__ import annotations

import signal

import pytest
import torch
from safetensors.torch import load_file

from mld.errors import ConfigError
from mld.training import callbacks
from mld.training.callbacks import Stopped
from mld.training.run_config import load_runs
from mld.training.run_folder import RunFolder, open_run
from mld.training.stages import resume, run_stages


def final_state(folder):
    """Exported weights, and the optimizer's memory."""
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    moments = [value for entry in state["optimizer_states"][0]["state"].values() for value in entry.values()]
    return load_file(folder / "model" / "model.safetensors"), moments, state["global_step"]


def assert_same(one, other):
    weights, moments, step = final_state(one)
    other_weights, other_moments, other_step = final_state(other)
    assert step == other_step == 6
    assert weights.keys() == other_weights.keys()
    different = [key for key in weights if not torch.equal(weights[key], other_weights[key])]
    assert not different
    assert all(torch.equal(a, b) for a, b in zip(moments, other_moments, strict=True))


def stop_after(monkeypatch, step, number=signal.SIGTERM):
    """Send a signal to this process when `step` is done."""
    original = callbacks.StepBar.on_train_batch_end

    def send(self, trainer, *args):
        original(self, trainer, *args)
        if trainer.global_step == step:
            signal.raise_signal(number)

    monkeypatch.setattr(callbacks.StepBar, "on_train_batch_end", send)


@pytest.fixture
def tokenizer_model(configs):
    return run_stages(load_runs(configs / "tokenizer.yaml", ["training.max_steps=2"]))[0]


def stage_settings(stage, output, tokenizer_model):
    settings = [f"output={output}", "training.ema=0.9", "training.validate_every_steps=4"]
    return settings if stage == "tokenizer" else [*settings, f"init_from={tokenizer_model}", "name=" + stage]


@pytest.mark.parametrize("stage", ["tokenizer", "pretrain"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_three_steps_and_three_more_equal_six(configs, tmp_path, monkeypatch, tokenizer_model, stage, accumulate):
    settings = stage_settings(stage, tmp_path / "straight", tokenizer_model)
    settings.append(f"training.accumulate={accumulate}")
    run_stages(load_runs(configs / f"{stage}.yaml", settings))

    broken = load_runs(configs / f"{stage}.yaml", [*settings, f"output={tmp_path / 'broken'}"])
    with monkeypatch.context() as patch:
        stop_after(patch, step=3)
        with pytest.raises(Stopped, match="after step 3 of 6.*--resume"):
            run_stages(broken)
    assert open_run(broken[0].folder).progress.step == 3
    run_stages(broken)
    assert_same(tmp_path / "straight" / stage, tmp_path / "broken" / stage)


def test_a_killed_run_goes_on_and_watching_it_changes_nothing(configs, tmp_path, monkeypatch):
    run_stages(load_runs(configs / "tokenizer.yaml", [f"output={tmp_path / 'straight'}"]))
    killed = [f"output={tmp_path / 'killed'}", "training.validate_every_steps=1", "data.num_workers=1"]
    with monkeypatch.context() as patch:

        def die(self, trainer, *args):
            if trainer.global_step == 5:
                raise RuntimeError("power cut")

        patch.setattr(callbacks.StepBar, "on_train_batch_end", die)
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(RuntimeError, match="power cut"):
            run_stages(load_runs(configs / "tokenizer.yaml", killed))
        assert signal.getsignal(signal.SIGINT) is before
    run = open_run(tmp_path / "killed" / "tokenizer")
    assert run.progress.step == 4
    resume(run.path, run.resumed([]))
    assert_same(tmp_path / "straight" / "tokenizer", tmp_path / "killed" / "tokenizer")


def test_metrics_go_on_without_repeats(configs, monkeypatch):
    runs = load_runs(configs / "tokenizer.yaml", [])
    with monkeypatch.context() as patch:
        stop_after(patch, step=3)
        with pytest.raises(Stopped):
            run_stages(runs)
    run_stages(runs)
    rows = (runs[0].folder / "metrics.csv").read_text().splitlines()
    # the step at which a run is stopped is saved, but not logged
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "4", "5", "6"]
    assert "val/mpjpe_mm" in rows[0] and "train/loss" in rows[0]


def test_longer_with_resume_and_what_may_not_change(configs):
    runs = load_runs(configs / "tokenizer.yaml", ["training.max_steps=2"])
    run_stages(runs)
    run = open_run(runs[0].folder)
    with pytest.raises(ConfigError, match="'seed' cannot change"):
        run.resumed(["seed=3"])
    resume(run.path, run.resumed(["training.max_steps=4"]))
    assert run.progress.step == 4 and run.progress.finished


def test_a_changed_config_is_refused_and_fresh_keeps_the_old_run(configs, capsys):
    runs = load_runs(configs / "tokenizer.yaml", ["training.max_steps=2"])
    run_stages(runs)
    run_stages(runs)
    assert "finished before" in capsys.readouterr().out
    changed = load_runs(configs / "tokenizer.yaml", ["training.max_steps=2", "tokenizer.width=32"])
    with pytest.raises(ConfigError, match=r"finished run with other settings \(tokenizer.width 16 -> 32\)"):
        run_stages(changed)
    run_stages(changed, fresh=True)
    kept = list(runs[0].folder.parent.glob("tokenizer.before-*"))
    assert len(kept) == 1 and RunFolder(kept[0]).last.is_file()
