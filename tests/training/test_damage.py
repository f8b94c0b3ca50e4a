"""Files of a run that were damaged: a whole state takes over, what can be mended is mended, each with a line."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import torch

from commands.common import run
from commands.train import main
from mld.errors import CheckpointError
from mld.training.run_config import load_runs
from mld.training.run_folder import RunFolder
from mld.training.stages import resume, run_stages
from mld.training.state_file import is_whole, read_state, write_state
from tests.training import killing

QUIET = ["training.samples=0", "training.ema=0.9", "training.keep_checkpoints=2"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory, dataset):
    from tests.training.conftest import write_configs

    configs = write_configs(tmp_path_factory.mktemp("straight"), dataset)
    return run_stages(load_runs(configs / "tokenizer.yaml", QUIET))[0].parent


@pytest.fixture
def damaged(straight, configs):
    """A copy of a finished run that the config of `configs` belongs to."""
    runs = load_runs(configs / "tokenizer.yaml", QUIET)
    folder = shutil.copytree(straight, runs[0].folder)
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace(
        str(straight.parent), str(folder.parent)))  # fmt: skip
    return runs, RunFolder(folder)


def flip(path, place):
    """Flip one bit, in a file that has no other name."""
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.unlink()
    path.write_bytes(content)


def in_a_weight(path) -> int:
    """A place in the middle of the largest tensor."""
    state = read_state(path)["state_dict"]
    largest = max(state.values(), key=lambda value: value.nbytes)
    place = path.read_bytes().find(largest.numpy().tobytes())
    assert place > 0
    return place + largest.nbytes // 2


@pytest.mark.parametrize("way", ["flipped", "cut", "empty", "text"])
@pytest.mark.parametrize("command", ["same", "resume"])
def test_the_newest_whole_state_takes_over(damaged, straight, capsys, way, command):
    """Training goes on from it and ends as if nothing had happened."""
    runs, folder = damaged
    for path in (folder.last, folder.checkpoints / "step_00000006.ckpt", folder.checkpoints / "best.ckpt"):
        if way == "flipped":
            flip(path, in_a_weight(path))
            torch.load(path, weights_only=True)  # without a word
        else:
            content = {"cut": path.read_bytes()[: path.stat().st_size // 2], "empty": b"", "text": b"no state"}[way]
            path.unlink()
            path.write_bytes(content)
    if command == "same":
        run_stages(runs)
    else:
        assert run(main, ["--resume", str(folder.path)]) == 0
    told = capsys.readouterr()
    assert "last.ckpt: damaged; going on from step_00000004.ckpt, of step 4\n" in told.err
    assert "from step 4" in told.out
    different = killing.difference(killing.state_of(straight), killing.state_of(folder.path))
    left = {"checkpoints/best.ckpt"}  # written again only by a validation that is better
    assert set(different) <= left | {"config.yaml"}


def spoilt(path, value) -> str:
    """Put something else into the largest weight of a state; the name of that weight."""
    state = dict(read_state(path))
    name = max(state["state_dict"], key=lambda key: state["state_dict"][key].nbytes)
    weight = state["state_dict"][name].clone()
    state["state_dict"] = dict(state["state_dict"])
    state["state_dict"][name] = weight.to(value) if isinstance(value, torch.dtype) else weight.fill_(value)
    new = path.with_name("spoilt")
    write_state(state, new)
    new.replace(path)
    return name


@pytest.mark.parametrize("value", [torch.nan, torch.inf, torch.complex64], ids=str)
def test_weights_that_are_no_numbers_are_not_gone_on_from(damaged, capsys, value):
    """As of a run that learnt too fast: a save may come between the last good loss and the first bad one."""
    runs, folder = damaged
    for other in ("step_00000006.ckpt", "best.ckpt"):
        spoilt(folder.checkpoints / other, value)
    name = spoilt(folder.last, value)
    run_stages(runs)
    told = capsys.readouterr()
    assert f"last.ckpt: {name} " in told.err and "; going on from step_00000004.ckpt, of step 4\n" in told.err
    weights = read_state(folder.last)["state_dict"]
    assert folder.progress.step == 6 and all(tensor.isfinite().all() for tensor in weights.values())


def test_weights_of_another_type_are_refused(damaged, capsys):
    runs, folder = damaged
    name = spoilt(folder.last, torch.int8)
    assert run(main, ["--resume", str(folder.path), "training.max_steps=7"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(told) == 1 and f"last.ckpt: {name} is int8 instead of float32" in told[0]


def test_no_whole_state_is_an_error_and_changes_nothing(damaged, capsys):
    runs, folder = damaged
    for path in folder.checkpoints.iterdir():
        path.unlink()
        path.write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"last.ckpt: damaged .* no other in its folder is whole; .*--fresh"):
        run_stages(runs)
    assert run(main, ["--resume", str(folder.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert len(list(folder.checkpoints.glob("*.ckpt"))) == 4  # two steps, last and best


def test_a_last_state_that_is_gone_is_one_of_the_others(damaged, capsys):
    runs, folder = damaged
    folder.last.unlink()
    run_stages(runs)
    told = capsys.readouterr()
    assert "last.ckpt: missing; going on from step_00000006.ckpt" in told.err and "finished before" in told.out


def test_no_flipped_bit_gives_another_state(tmp_path):
    """Whatever bit it is: the file is refused, or holds the same."""
    state = {"global_step": 3, "state_dict": {"a": torch.randn(40, 9), "b": torch.arange(5)}, "x": [1, 2.5, "three"]}
    file = tmp_path / "a.ckpt"
    write_state(state, file)
    content, draw = file.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(600):
        other = bytearray(content)
        other[draw.randrange(len(other))] ^= 1 << draw.randrange(8)
        file.write_bytes(other)
        if not is_whole(file):
            refused += 1
            continue
        found = read_state(file)
        assert found["x"] == state["x"] and found["global_step"] == 3
        assert all(torch.equal(found["state_dict"][name], value) for name, value in state["state_dict"].items())
    assert refused > 300


@pytest.mark.parametrize("content", ["", '{"step": 6, "max', "[1]", '{"step": 5, "unknown": 2}'])
def test_progress_is_written_again(damaged, content):
    runs, folder = damaged
    file = folder.path / "progress.json"
    good = file.read_text()
    file.write_text(content)
    run_stages(runs)
    assert file.read_text() == good and json.loads(good)["step"] == 6


def test_a_model_folder_with_a_damaged_origin_is_made_again(damaged, capsys):
    runs, folder = damaged
    (folder.model / "provenance.json").write_text('{"step": ')
    run_stages(runs)
    assert "made again" in capsys.readouterr().out
    assert json.loads((folder.model / "provenance.json").read_text())["step"] == 6


GARBLED = {
    "bytes": lambda lines: [*lines[:2], b"\xff\x00\x80,1,,\n", *lines[2:]],
    "a step that is none": lambda lines: [*lines[:2], b"two" + lines[2], *lines[3:]],
    "columns too many": lambda lines: [*lines[:2], lines[1].replace(b",", b",,", 1), *lines[2:]],
    "no numbers": lambda lines: [*lines[:2], b"2" + b",x" * lines[0].count(b",") + b"\n", *lines[2:]],
    "quotes": lambda lines: [*lines[:2], b'"', *lines[2:]],
}


@pytest.mark.parametrize("way", GARBLED)
def test_damaged_metrics_are_left_out(damaged, capsys, way):
    folder = damaged[1]
    file = folder.path / "metrics.csv"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(GARBLED[way](lines)))
    resume(folder.path, folder.resumed(["training.max_steps=8"]))
    assert f"{file}: 1 damaged line left out\n" in capsys.readouterr().err
    steps = [line.split(b",")[0] for line in file.read_bytes().splitlines()]
    assert steps[0] == b"step" and steps[-2:] == [b"7", b"8"] and set(steps[1:]) <= {b"%d" % i for i in range(1, 9)}


def test_metrics_without_a_heading_are_set_aside(damaged, capsys):
    folder = damaged[1]
    file = folder.path / "metrics.csv"
    file.write_bytes(b"\x00\x01" + file.read_bytes())
    content = file.read_bytes()
    resume(folder.path, folder.resumed(["training.max_steps=8"]))
    assert "metrics.csv: damaged; kept as metrics.csv.damaged" in capsys.readouterr().err
    assert (folder.path / "metrics.csv.damaged").read_bytes() == content
    assert [row.split(",")[0] for row in file.read_text().splitlines()] == ["step", "7", "8"]
