"""The command `test`: a model over a split of a dataset, numbers into `results.json`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from doors import models
from doors.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

TASKS = ("recon", "t2m", "m2t", "pred", "inbetween")
EPILOG = """\
recon      MPJPE, PA-MPJPE (mm), ACCEL (mm/frame^2) of the motion tokenizer
t2m        length error, foot skating and jerk, beside those of the real clips
m2t        exact matches, BLEU-1..4, share of different captions (%)
pred       ADE, FDE (m) with the first 20 % given; inbetween: with the first and last 25 % given
Metrics that need an evaluator network are null in results.json, with the reason.

examples:
  python -m test --task all data.source=joints data.root=../shared/data/cmu-mocap-text
  python -m test --cfg configs/cmu/instruct.yaml --task t2m --reps 20"""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    from mld.errors import RequestError

    if options.reps < 1 or options.batch_size < 1:
        raise RequestError("--reps and --batch-size are at least 1")
    config = _data_config(options)
    engine = _open(options)
    names = _tasks(options.task, engine)
    clips, data = _clips(config, options)
    import tasks
    from mld.metrics.results import markdown, summarise

    results = {}
    for name in names:
        task = tasks.find(name)
        passes = [_one_pass(task, engine, clips, options, repetition) for repetition in range(options.reps)]
        results[name] = summarise(passes, task.protocol)
        _write(options, results, data, clips)
    print(markdown(results))
    print(f"results: {_folder(options) / 'results.json'}")
    return EXIT_SOME_FAILED if data["problems"] else EXIT_OK


def _parse(arguments: Sequence[str]):
    command = parser("test", "Evaluate a model on a split of a dataset.", EPILOG)
    models.add_options(command)
    command.add_argument(
        "overrides", nargs="*", metavar="data.key=value", help="where the clips come from, such as data.source=joints "
        "data.root=FOLDER (default: the data of --cfg, else the procedural set)",
    )  # fmt: skip
    command.add_argument("--task", choices=(*TASKS, "all"), default="all", help="what to test (default: all)")
    command.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: test")
    command.add_argument("--reps", type=int, default=1, metavar="N", help="passes with different seeds (default: 1)")
    command.add_argument("--seed", type=int, default=0, help="default: 0")
    command.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: 32")
    command.add_argument("--limit", type=int, metavar="N", help="only the first N clips")
    command.add_argument("--out", metavar="DIR", help="where results.json goes (default: out/test)")
    return command.parse_intermixed_args(arguments)


def _open(options):
    """A pipeline, or a motion tokenizer alone."""
    from mld.checkpoint import load_model
    from mld.engine.pipeline import Pipeline
    from mld.models.base import MotionTokenizer

    device = models.device_of(options)
    network = load_model(models.folder_of(options))
    if isinstance(network, MotionTokenizer):
        return network.to(device)
    return Pipeline(network.to(device))


def _tasks(wanted: str, engine) -> list[str]:
    from mld.errors import RequestError
    from mld.models.base import MotionTokenizer

    able = {"recon"} if isinstance(engine, MotionTokenizer) else {"recon", *engine.model.tasks}
    if wanted != "all" and wanted not in able:
        raise RequestError(f"this model does not do '{wanted}'; it does {', '.join(sorted(able))}")
    return [name for name in TASKS if name in able] if wanted == "all" else [wanted]


def _clips(config, options) -> tuple[list, dict]:
    """The clips of the split and what the results file says about them."""
    from mld.config import to_plain
    from mld.data.clips import build_source
    from mld.errors import DataError

    source = build_source(config, options.split)
    print(source.report())
    count = min(len(source), options.limit or len(source))
    clips = [source[index] for index in range(count)]
    if not clips:
        raise DataError(f"split '{options.split}' has no clip")
    return clips, {
        "name": source.name, "split": options.split, "clips": count, "config": to_plain(config),
        "hash": _hash(clips), "problems": [str(problem) for problem in source.problems],
    }  # fmt: skip


def _data_config(options):
    """The data section of `--cfg`, or the procedural set, under the overrides of the command line."""
    from mld.config import Tree, build_tree, read_overrides, to_plain
    from mld.data.config import DataConfig
    from mld.errors import ConfigError

    wrong = [override for override in options.overrides if not override.startswith("data.")]
    if wrong:
        raise ConfigError(f"command line: '{wrong[0]}' is not understood; overrides here look like data.root=FOLDER")
    if not options.cfg and not options.overrides:
        print("no data given: using the procedural set (data.source=... data.root=... for another)")
    base = to_plain(models.run_of(options).data) if options.cfg else {}
    tree = Tree(base, dict.fromkeys(base, str(options.cfg)))
    overrides = read_overrides([override.removeprefix("data.") for override in options.overrides])
    config = build_tree(overrides.over(tree), DataConfig)
    config.check()
    return config


def _one_pass(task, engine, clips: list, options, repetition: int) -> dict:
    """Requests, answers and scores of one replication."""
    from mld.motion.representations import get_representation
    from tasks.base import item_seed

    model = getattr(engine, "model", engine)
    tokenizer = getattr(model, "tokenizer", model)
    representation = get_representation(tokenizer.representation)
    requests = [task.request(clip, representation, item_seed(options.seed, repetition, clip.name)) for clip in clips]
    scores = task.scores(representation)
    answers = task.answers(engine, requests, options.batch_size, progress=sys.stderr.isatty())
    for clip, answer in zip(clips, answers):
        scores.update(clip, answer)
    return scores.compute()


def _write(options, results: dict, data: dict, clips: list) -> None:
    from mld import __version__
    from mld.checkpoint import PROVENANCE, WEIGHTS, git_sha, resolve_folder
    from mld.metrics.results import file_hash, markdown, write_json

    model = resolve_folder(models.folder_of(options))
    folder = _folder(options)
    write_json(folder / "results.json", {
        "tasks": results, "data": data, "seeds": {"seed": options.seed, "repetitions": options.reps},
        "model": {"folder": str(model), "weights_hash": file_hash(model / WEIGHTS),
                  "provenance_hash": file_hash(model / PROVENANCE) if (model / PROVENANCE).is_file() else None},
        "mld_version": __version__, "git_sha": git_sha(),
    })
    (folder / "results.md").write_text(markdown(results) + "\n", encoding="utf-8")


def _folder(options) -> Path:
    return Path(options.out or "out/test")


def _hash(clips: list) -> str:
    """SHA-256 over names, features and captions, first 16 hex digits."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update("\n".join((clip.name, *clip.captions)).encode())
        digest.update(clip.features.numpy().tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(run(main))
