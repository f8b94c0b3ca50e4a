"""Commands that write: a full disk, an output that cannot be written, is one line; nothing is lost, nothing is left
over, and the same command goes on when there is room."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from tests.commands.conftest import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="fork")
PAGES = ("demo", "m2t", "view")
FAULTS = ("full", "read-only", "short", "a file")
# What each writes into OUT; MODEL, LATENTS, MOTIONS, DATA, META and RESULTS are there before.
COMMANDS = {
    "demo": ["commands.demo", "--model", "MODEL", "--text", "a person walks#40", "--out", "OUT"],
    "demo of all kinds": ["commands.demo", "--model", "MODEL", "--text", "a person walks#40", "--out", "OUT",
                          "--format", "npy,bvh,glb,gltf,json,csv,npz,png,gif"],
    "m2t": ["commands.demo", "--task", "m2t", "--model", "MODEL", "--text", "MOTIONS/walk.npy", "--out", "OUT"],
    "test": ["commands.test", "--model", "TOKENIZER", "--task", "recon", "--quick", "--evaluator", "none", "--out",
             "OUT", "data.procedural_size=8"],
    "import_motion": ["prepare.import_motion", "MOTIONS/walk.npy", "MOTIONS/curve.npy", "OUT", "--format", "npy,bvh",
                      "--sheet", "OUT/sheet.png"],
    "clean": ["prepare.clean", "MOTIONS/walk.npy", "-o", "OUT", "--sheet", "OUT/sheet.png"],
    "view": ["prepare.view", "MOTIONS/walk.npy", "-o", "OUT/page.html"],
    "retrieve": ["prepare.retrieve", "--motion", "MOTIONS/walk.npy", "--motions", "MOTIONS", "--evaluator", "EVALUATOR",
                 "--cache", "OUT/cache", "--out", "OUT/hits.png"],
    "fit": ["prepare.fit", "MOTIONS/walk.npy", "MOTIONS/curve.npy", "OUT"],
    "release": ["prepare.release", "MODEL", "OUT", "--licence", "MIT"],
    "export": ["prepare.convert", "motiongpt3-export", "LATENTS", "OUT/a.ckpt"],
    "stats": ["prepare.data", "stats", "--source", "joints", "--root", "DATA", "--out", "OUT"],
    "convert": ["prepare.data", "convert", "--source", "joints", "--root", "DATA", "--out", "OUT"],
    "convert files": ["prepare.data", "convert", "MOTIONS/walk.npy", "--to", "joints", "--out", "OUT"],
    "cmu": ["prepare.data", "cmu", "--source", "MOCAP", "--out", "OUT"],
    "demo_motions": ["prepare.demo_motions", "--out", "OUT"],
    "leaderboard": ["prepare.leaderboard", "RESULTS", "--out", "OUT/table.md"],
    "gate": ["prepare.gate", "--meta", "META", "--out", "OUT/meta.json", "--report", "OUT/report.json", "--sheet",
             "OUT/sheet.png"],
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, model_folder, latent_model_folder, tokenizer_folder, evaluator_folder, motions):
    """By command and fault: the outcome with the fault, the one after it, and what was left in between."""
    from tests.training.conftest import write_dataset

    work = tmp_path_factory.mktemp("no room")
    clean = Path(shutil.copytree(motions, work / "motions"))
    (clean / "broken.npy").unlink()
    (clean / "features.npy").unlink()
    Motion.load(clean / "walk.npy").save(work / "mocap" / "walk.bvh")
    names = {
        "MODEL": model_folder, "LATENTS": latent_model_folder, "TOKENIZER": tokenizer_folder, "MOTIONS": clean,
        "EVALUATOR": evaluator_folder, "MOCAP": work / "mocap", "DATA": write_dataset(work / "data"),
        "RESULTS": work / "test without" / "out", "META": _meta(work, clean / "walk.npy"),
    }  # fmt: skip
    cases, keys = [], []
    for name, (module, *arguments) in COMMANDS.items():
        for fault in ("without", *FAULTS):
            folder = work / f"{name} {fault}"
            folder.mkdir()
            texts = {key: str(path) for key, path in names.items()} | {"OUT": str(folder / "out")}
            filled = [_filled(argument, texts) for argument in arguments]
            if fault == "a file":
                (folder / "out").write_text("mine")
            case = {"module": module, "arguments": filled, "below": str(folder)}
            cases.append(case | {"fault": "" if fault in ("without", "a file") else fault})
            keys.append((name, fault))
    first = _run(cases, work)
    left = {(name, fault): _inside(work / f"{name} {fault}") for name, fault in keys}
    for name, fault in keys:
        out = work / f"{name} {fault}" / "out"
        if fault == "a file" and out.is_file():
            out.unlink()
    again = _run([case | {"fault": ""} for case in cases], work)
    after = {(name, fault): _inside(work / f"{name} {fault}") for name, fault in keys}
    return {key: (one, two, left[key], after[key]) for key, one, two in zip(keys, first, again)}


def _meta(folder: Path, walk: Path) -> Path:
    """A meta file with one reference motion."""
    rows = get_representation("motion276").encode(Motion.load(walk)).numpy()
    np.save(folder / "reference.npy", rows)
    (folder / "meta.json").write_text(json.dumps([{"id": 1, "prompt": "a walk", "motion_path": "reference.npy"}]))
    return folder / "meta.json"


def _filled(argument: str, texts: dict[str, str]) -> str:
    head, slash, tail = argument.partition("/")
    return texts.get(head, head) + slash + tail


def _run(cases: list[dict], work: Path) -> list[dict]:
    file = work / "cases.json"
    file.write_text(json.dumps(cases))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.commands.faults", str(file)], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _inside(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", COMMANDS)
def test_it_works_where_there_is_room(outcomes, name):
    done, again, left, _ = outcomes[name, "without"]
    assert done["code"] == 0 and len(left) > 0, done["err"]
    assert again["code"] == 0 or "already there" in again["err"] + again["out"], again["err"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_room_is_one_line_and_the_same_command_goes_on(outcomes, name, fault):
    done, again, left, after = outcomes[name, fault]
    errors = [line for line in done["err"].splitlines() if line.startswith(("error: ", "left out: "))]
    assert done["code"] == 2 and "Traceback" not in done["err"], (done["code"], done["err"])
    assert len(errors) == 1 and len(errors[0]) <= 320, done["err"]
    wanted = [f"{name} {fault}/out"]
    if fault == "short" and name in PAGES:  # files that a page offers are made in the system's folder first
        wanted.append(str(Path(tempfile.gettempdir()) / "tmp"))
    assert any(place in errors[0] for place in wanted), errors
    assert not [file for file in left if Path(file).name.startswith(".") or ".new" in file], left
    assert again["code"] == 0, again["err"]
    assert after == outcomes[name, "without"][3]
