"""Kills a short training run at one file operation after the other, gives the same command again, and compares.

    python -m tests.training.killing WORK_FOLDER [--stage NAME] [--places 25] [--no-exchange] [--full]

Everything is imported once; each run is a fork of this process and takes a fraction of a second. A run is killed before
its n-th change to files (a file opened for writing is left with a few bytes in it), and every third time its successor
is killed, too. With --full it is not killed: from there on the disk has no room for a new file. Prints JSON: the number
of places, how many were tried, and what differed from the straight run.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

KILLED, EXIT_USAGE = 137, 2
TEXTS = "texts"
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
SETTINGS = [
    "training.max_steps=4", "training.ema=0.9", "training.samples=1", "training.max_validation_clips=1",
    "training.log_every_steps=1", "training.validate_every_steps=2", "training.checkpoint_every_steps=2",
]  # fmt: skip
# What is run, and the stages whose model it starts from; the last ones are files of several stages.
STAGES = {
    "tokenizer": (), "pretrain": ("tokenizer",), "instruct": ("tokenizer", "pretrain"),
    "vae": (), "latents": ("vae",), "latents_on": ("vae", "latents"),
    "tmr": (), "movement": (), "guo": ("movement",),
    "all": (), "latents_all": (), "both": (),
}  # fmt: skip


class Counter:
    """Counts changes below `folder` and ends the process at number `last` (0: never); full: has no room from there."""

    def __init__(self, folder: Path, last: int, full: bool = False) -> None:
        self.folder, self.last, self.full, self.count = str(folder), last, full, 0

    def __call__(self, event: str, args: tuple) -> None:
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int) or not (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in CHANGES:
            path = args[0]
        else:
            return
        name = os.fsdecode(path)
        if os.path.isabs(name) and not name.startswith(self.folder) or "/tensorboard" in name:
            return
        self.count += 1
        if self.full:
            if 0 < self.last <= self.count and event in ("open", "os.mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            return
        if self.count == self.last:
            if event == "open" and (args[2] or 0) & os.O_TRUNC:
                self.last = 0
                with open(path, "wb") as file:
                    file.write(b"half")
            os._exit(KILLED)


def run(
    config: Path, output: Path, more: list[str], last: int = 0, exchange: bool = True, full: bool = False
) -> tuple[int, int]:
    """Exit code and number of changes of a run in a process of its own, killed at change `last`. more: settings."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid:
        os.close(send)
        with os.fdopen(receive) as pipe:
            counted = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(counted or 0)
    code = 1
    try:
        log = os.open(output.parent / f"{output.name}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from commands import common
        from mld import files
        from mld.training.run_config import load_runs
        from mld.training.stages import run_stages

        if not exchange:
            files._exchange = lambda one, other: False
        counter = Counter(output, last, full)
        sys.addaudithook(counter)
        runs = load_runs(config, [*SETTINGS, f"output={output}", f"text_cache={output / TEXTS}", *more])
        code = common.run(lambda _: 0 * len(run_stages(runs)), [])
        os.write(send, str(counter.count).encode())
        if not last:
            names = json.dumps(sorted(sys.modules))
            (output.parent / "modules.json").write_text(names)
    finally:
        os._exit(code)


def state_of(folder: Path) -> dict[str, str]:
    """What a run left, by file name: hashes, of checkpoints those of their tensors and their step."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if "tensorboard" in name or (
            TEXTS in path.parts[:-1] and path.suffix == ".safetensors" and path.name[0] != "."
        ):
            continue  # files of texts are named at random
        if path.name == TEXTS:
            found[name] = _texts(path)
        elif path.is_file():
            found[name] = _checkpoint(path) if path.suffix == ".ckpt" else _hash(path, folder)
        else:
            found[name] = "folder"
    return found


def _texts(folder: Path) -> str:
    """A hash of the text features that are kept in a folder, in whatever files."""
    from safetensors.torch import load_file

    rows = []
    for file in folder.rglob("*.safetensors"):
        if not file.name.startswith("."):
            kept = load_file(file)
            rows += [repr((key, kept["sentences"][i].tolist())) for i, key in enumerate(kept["keys"].tolist())]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _hash(path: Path, folder: Path) -> str:
    content = path.read_bytes().replace(str(folder).encode(), b"OUTPUT")
    if path.name == "metrics.csv":
        content = _without_speed(content)
    if path.name == "provenance.json":  # somebody may commit in the meantime
        content = json.dumps({**json.loads(content), "git_sha": ""}).encode()
    return hashlib.sha256(content).hexdigest()


def _without_speed(metrics: bytes) -> bytes:
    """A metrics file without what a clock has told."""
    rows = [row.split(",") for row in metrics.decode().splitlines()]
    kept = [i for i, name in enumerate(rows[0] if rows else []) if not name.startswith("speed/")]
    return "\n".join(",".join(row[i] for i in kept) for row in rows).encode()


def _checkpoint(path: Path) -> str:
    import torch

    state = torch.load(path, weights_only=True)
    digest = hashlib.sha256(repr((state["progress"], state["callbacks"], state["lr_schedulers"])).encode())
    digest.update(repr(state["TrainingData"]).encode())

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                digest.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            for part in value:
                add(part)

    add([state["state_dict"], state["optimizer_states"], state.get("averaged")])
    return digest.hexdigest()


def difference(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def main(arguments: list[str]) -> dict:
    options = _parse(arguments)
    work = Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    import torch

    from tests.models.evaluating import write_text_encoder
    from tests.training.conftest import write_configs, write_dataset, write_tmr

    torch.set_num_threads(1)
    configs = write_configs(work / "configs", write_dataset(work / "data"))
    write_tmr(configs, write_text_encoder(work / "words"), work / "unused")
    more: list[str] = []
    for parent in STAGES[options.stage]:
        code, _ = run(configs / f"{parent}.yaml", work / "parents", more)
        assert code == 0, (work / "parents.log").read_text()
        more = [f"init_from={work / 'parents' / parent / 'model'}"]
    config, straight = configs / f"{options.stage}.yaml", work / "straight"
    code, total = run(config, straight, more)
    assert code == 0, (work / "straight.log").read_text()
    for name in json.loads((work / "modules.json").read_text()):
        try:
            importlib.import_module(name)
        except (ImportError, AttributeError, ValueError):
            continue
    wanted = state_of(straight)
    places = total if options.places == 0 else min(options.places, total)
    chosen = sorted({1 + i * (total - 1) // max(1, places - 1) for i in range(places)})
    failures: dict[str, list[str]] = {}
    exchange = not options.no_exchange
    for place in chosen:
        folder = work / f"at_{place}"
        code = run(config, folder, more, place, exchange, options.full)[0]
        if options.full:
            told = (work / f"at_{place}.log").read_text()
            if code == 0 and place + 10 > total:
                continue  # what was left to do needed no room
            if code != EXIT_USAGE or told.count("error: ") != 1 or "Traceback" in told:
                failures[str(place)] = [f"exit code {code}: {_last_lines(work / f'at_{place}.log')}"]
                continue
        elif code != KILLED:
            failures[str(place)] = ["was not killed"]
            continue
        if place % 3 == 0:
            run(config, folder, more, 1 + place * 7 % total, exchange, options.full)
        code, _ = run(config, folder, more, 0, exchange)
        wrong = ["failed: " + _last_lines(work / f"at_{place}.log")] if code else difference(wanted, state_of(folder))
        if wrong:
            failures[str(place)] = wrong
        else:
            shutil.rmtree(folder)
    return {"stage": options.stage, "places": total, "tried": len(chosen), "exchange": exchange, "failures": failures}


def _last_lines(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-3:])


def _parse(arguments: list[str]) -> argparse.Namespace:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("work", help="an empty folder to work in")
    command.add_argument("--stage", choices=list(STAGES), default="tokenizer", help="what is run")
    command.add_argument("--places", type=int, default=25, help="evenly spread places to kill at (0: all)")
    command.add_argument("--full", action="store_true", help="a full disk instead of a kill")
    command.add_argument("--no-exchange", action="store_true", help="as on a system that cannot exchange two names")
    return command.parse_args(arguments)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), indent=2))
