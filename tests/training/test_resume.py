"""An interrupted run that goes on ends with the very weights of an uninterrupted one."""

from __future__ import annotations

import shutil
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
from tests.training.conftest import write_configs


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


@pytest.fixture(scope="module")
def parents(tmp_path_factory, dataset):
    """Model folders that later stages start from."""
    files = write_configs(tmp_path_factory.mktemp("parents") / "configs", dataset)
    short = ["training.max_steps=2", "training.samples=0"]
    made = {name: run_stages(load_runs(files / f"{name}.yaml", short))[0] for name in ("tokenizer", "vae")}
    return {"pretrain": made["tokenizer"], "latents": made["vae"]}


def stage_settings(stage, output, parents):
    settings = [f"output={output}", "training.ema=0.9", "training.validate_every_steps=4"]
    return [*settings, "training.samples=0", f"init_from={parents[stage]}"] if stage in parents else settings


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("stage", ["tokenizer", "pretrain", "latents", "flow"])
def test_three_steps_and_three_more_equal_six(configs, tmp_path, monkeypatch, parents, stage, accumulate):
    settings = stage_settings(stage, tmp_path / "straight", parents)
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


def test_groups_of_a_resumed_run_go_on_with_their_own_rates_and_fresh_noise(configs, tmp_path, parents):
    """Half the steps and then the rest, with the latents made anew in between, equal the whole run."""
    settings = stage_settings("latents", tmp_path / "straight", parents)
    straight = load_runs(configs / "latents.yaml", settings)[0]
    run_stages([straight])
    state = torch.load(straight.folder / "checkpoints" / "last.ckpt", weights_only=True)
    groups = state["optimizer_states"][0]["param_groups"]
    assert {group["name"]: group["initial_lr"] for group in groups} == {"text": 1e-3, "motion": 1e-3, "head": 3e-3}
    assert groups[2]["lr"] == pytest.approx(3 * groups[0]["lr"]) and groups[0]["lr"] < 1e-3

    halved = [*settings, f"output={tmp_path / 'broken'}", "training.max_steps=3", "training.scheduler.fall_steps=6"]
    run_stages(halves := load_runs(configs / "latents.yaml", halved))
    shutil.rmtree(tmp_path / "broken" / "cache")
    resume(halves[0].folder, open_run(halves[0].folder).resumed(["training.max_steps=6"]))
    assert_same(straight.folder, halves[0].folder)


def test_frozen_weights_stay_to_the_bit_and_latents_need_no_cache(configs, tmp_path, parents):
    """Weight decay reaches no frozen weight; encoding clips in every step comes to nearly the same training."""
    settings = stage_settings("latents", tmp_path, parents)
    begun, cached, encoded = (
        run_stages(load_runs(configs / "latents.yaml", [*settings, f"name={name}", *more]))[0]
        for name, more in {
            "begun": ["training.optimizer.params.lr=0.0", "training.optimizer.groups={head: {lr: 0.0}}"],
            "cached": [],
            "encoded": ["training.cache_latents=false"],
        }.items()
    )
    start, kept, made = (load_file(folder / "model.safetensors") for folder in (begun, cached, encoded))
    table = "language_model.transformer.wte.weight"
    assert torch.equal(start[table][:-2], kept[table][:-2]) and not torch.equal(start[table][-2:], kept[table][-2:])
    for name, value in start.items():
        if name != table:
            # the output table of motion tokens has no loss: a motion is not told in tokens
            still = any(part in name for part in (".fn.0.", ".wpe.", "tokenizer.", "post_processors.1."))
            assert torch.equal(value, kept[name]) == still, name
        torch.testing.assert_close(made[name], kept[name], rtol=1e-3, atol=1e-5)


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
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3", "4", "5", "6"]
    assert "val/mpjpe_mm" in rows[0] and "train/loss" in rows[0]


def test_longer_with_resume_and_what_may_not_change(configs):
    runs = load_runs(configs / "tokenizer.yaml", ["training.max_steps=2"])
    run_stages(runs)
    run = open_run(runs[0].folder)
    with pytest.raises(ConfigError, match="'seed' cannot change"):
        run.resumed(["seed=3"])
    with pytest.raises(ConfigError, match="optimizer.name cannot change from AdamW to Muon in a run that goes on"):
        run.resumed(["training.optimizer.name=Muon"])
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


def test_mistakes_of_a_stage_with_latents_are_told_before_it_begins(configs, tmp_path, parents):
    settings = stage_settings("latents", tmp_path, parents)
    for wrong, message in {
        "model.vae_train_dropout=true": "set training.cache_latents=false",
        "training.optimizer.groups={branch: {lr: 1.0}}": "'branch' of MotionGPT3 does not exist",
        "model.frozen=[head, text]": "group 'head' of MotionGPT3",
    }.items():
        with pytest.raises(ConfigError, match=message):
            run_stages(load_runs(configs / "latents.yaml", [*settings, wrong]))
    folder = run_stages(load_runs(configs / "latents.yaml", [*settings, "training.max_steps=1", "name=first"]))[0]
    with pytest.raises(ConfigError, match="model.family is 'motiongpt', but .* holds a 'motiongpt3'"):
        run_stages(load_runs(configs / "pretrain.yaml", [*settings, f"init_from={folder}"]))
