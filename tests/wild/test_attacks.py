"""Files that were made to do harm: each ends in one line of the product's own errors, at once and without much memory.

The name of a file says where it is put: a list of requests, a training config, a model folder, a data set, results.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchmetrics.functional.text  # noqa: F401  (scores load it late: seconds that no attack takes)

import tasks
from mld.checkpoint import load_model
from mld.data.config import DataConfig
from mld.data.sources.opening import build_source
from mld.errors import MldError
from mld.evaluation.task import Setting
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.training.run_config import load_runs
from prepare.leaderboard import main as leaderboard
from tasks.lines import read_lines
from tests.motion.fuzz.guard import bounded
from tests.walking import walker

ATTACKS = sorted((Path(__file__).parent / "attacks").iterdir())
LONGEST = 300  # characters of a message
TASKS = [tasks.find(name) for name in tasks.NAMES]  # opened beforehand, as imports take their time


def lines(file: Path, folder: Path) -> list[str]:
    """What is said of the lines of a request file, of any task."""
    setting = Setting(get_representation("humanml3d"), 4, folder)
    read: list[tuple[int, str]] = []
    said = told(lambda: read.extend(read_lines(file)))
    for _, line in read:
        for task in TASKS:
            said += told(lambda task=task, line=line: task.parse(line, setting))
    return said


def config(file: Path, folder: Path) -> list[str]:
    return told(lambda: load_runs(file))


def model(file: Path, folder: Path) -> list[str]:
    (folder / "config.yaml").write_bytes(file.read_bytes())
    return told(lambda: load_model(folder))


def clips(file: Path, folder: Path) -> list[str]:
    (folder / "splits").mkdir()
    (folder / "splits" / "train.txt").write_text("c0\n")
    np.savez(folder / "trials.npz", t0=walker(60).numpy())
    (folder / "clips.jsonl").write_bytes(file.read_bytes())
    return told(lambda: build_source(DataConfig(source="joints", root=str(folder)), "train"))


def clip(file: Path, folder: Path) -> list[str]:
    """A file of a HumanML3D folder: features, or the list of the split."""
    split = file.suffix == ".s"
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir()
    (folder / "train.txt").write_bytes(file.read_bytes() if split else b"a\n")
    (folder / "texts" / "a.txt").write_text("a person walks#a/DET person/NOUN walk/VERB#0.0#0.0\n")
    features = get_representation("humanml3d").encode_joints(walker(60)[None])[0].numpy()
    path = folder / "new_joint_vecs" / "a.npy"
    np.save(path, features) if split else path.write_bytes(file.read_bytes())
    return told(lambda: build_source(DataConfig(source="humanml3d", root=str(folder)), "train"))


def results(file: Path, folder: Path) -> list[str]:
    return told(lambda: leaderboard([str(file)]))


def motion(file: Path, folder: Path) -> list[str]:
    return told(lambda: Motion.load(file)) + clip(file, folder)


HOW: dict[str, Callable[[Path, Path], list[str]]] = {
    "clips": clips, "config": config, "model": model, "yaml": model, "hml": clip, "results": results, "lines": lines,
    "length": lines, "regex": lines, "header": motion, "npz": motion,
}  # fmt: skip


def told(action: Callable[[], object]) -> list[str]:
    """The message of the error that the action ends in, if it does."""
    try:
        action()
    except MldError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("file", ATTACKS, ids=lambda file: file.name)
def test_attack(file: Path, tmp_path: Path, capsys) -> None:
    begin = time.process_time()
    with bounded(file.stat().st_size):
        said = HOW[re.split("[_.]", file.name)[0]](file, tmp_path)
    assert time.process_time() - begin < 5
    said += capsys.readouterr().err.splitlines()
    assert said, "nothing was said"
    for line in said:
        assert line.isprintable() and len(line.replace(str(tmp_path), "").replace(str(file), "")) <= LONGEST, line[:999]
