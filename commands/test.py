"""The command `test`: a model over a split of a dataset, numbers with their protocol into `results.json`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tasks
from commands import models, parallel
from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

REAL = "real"
FULL_REPLICATIONS, FULL_MULTIMODALITY = 20, 100
EPILOG = """\
t2m        R-precision, matching score, FID, KID, diversity, MultiModality, retrieval; length error, skating, jerk
m2t        R-precision and retrieval of the captions; BLEU, ROUGE-L, CIDEr in four conventions, exact matches
pred       ADE, FDE (m) with the first 20 % given; inbetween: with the first and last 25 % given; FID, diversity
t2t        how long a described motion takes, asked in words: error of the answers in seconds
recon      MPJPE, PA-MPJPE (mm), ACCEL (mm/frame^2) of the motion tokenizer; FID, diversity
real       only the real motions, to look at an evaluator; needs no model

The real motions are always measured first, with the same captions, crops and groups. A metric that cannot be computed
is null in results.json, with the reason. A run that was stopped goes on when the same command is given again.

examples:
  python -m test --task t2m --quick data.source=joints data.root=../shared/data/cmu-mocap-text
  python -m test --cfg configs/cmu/instruct.yaml --task all --devices 2
  python -m test --task real --controls --evaluator runs/tmr/model data.source=joints data.root=FOLDER"""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if options.devices > 1 and not parallel.is_worker():
        return parallel.launch(main, arguments, options.devices)
    return _test(options)


def _test(options) -> int:
    from mld.evaluation.report import markdown
    from mld.evaluation.rows import CONTROLS
    from mld.evaluation.setup import check_real_row, earlier_tasks, open_clips, prepare, say, write

    _check(options)
    config = _data_config(options)
    engine = None if options.task == REAL else _open(options)
    names = [] if options.task == REAL else _tasks(options.task, engine)
    able = [] if engine is None else [tasks.find(name) for name in tasks.able(engine)]
    clips, data, protocol = open_clips(config, options, engine, able)
    model = None if engine is None else models.folder_of(options)
    evaluation, about = prepare(options, engine, model, _device(options), clips, data, protocol)
    results: dict[str, Any] = {"rows": {}, "tasks": {}, "checks": {}, **about}
    results["rows"] = evaluation.reference(CONTROLS if options.controls else ())
    check_real_row(options, evaluation, results)
    results["tasks"] = earlier_tasks(results)
    write(results)
    for name in names:
        results["tasks"][name] = evaluation.task(tasks.find(name))
        write(results)
    say(markdown(results, brief=True))
    say(f"results: {about['folder']}/results.json, .md (with retrieval), .tex")
    return EXIT_SOME_FAILED if data["problems"] else EXIT_OK


def _parse(arguments: Sequence[str]):
    command = parser("test", "Evaluate a model on a split of a dataset.", EPILOG)
    models.add_options(command)
    command.add_argument(
        "overrides", nargs="*", metavar="data.key=value", help="where the clips come from, such as data.source=joints "
        "data.root=FOLDER (default: the data of --cfg, else the procedural set)",
    )  # fmt: skip
    add = command.add_argument
    add("--task", choices=(*tasks.NAMES, REAL, "all"), default="all", help="what to test (default: all)")
    add("--split", choices=("train", "val", "test"), default="test", help="default: test")
    add("--limit", type=int, metavar="N", help="only the first N clips")
    add("--evaluator", action="append", metavar="DIR", help="evaluator folder, more than once for several; 'none' for "
        "none (default: the bundled ones that fit the data)")  # fmt: skip
    add("--reps", type=int, metavar="N", help=f"replications with seeds S, S+1, ... (default: {FULL_REPLICATIONS})")
    add("--quick", action="store_true", help="1 replication with 95%% intervals over clips, no MultiModality; never "
        "to be compared with tables of 20")  # fmt: skip
    add("--controls", action="store_true", help="rows that must be bad: shuffled captions, mean pose")
    add("--multimodality", type=int, metavar="N", help="captions that are answered 30 times each (default: "
        f"{FULL_MULTIMODALITY}, 0 with --quick)")  # fmt: skip
    add("--mode", choices=("strict", "upstream"), default="strict", help="upstream: with the quirks of published code")
    add("--captions", choices=("random", "first"), default="random", help="which one of a clip (default: random)")
    add("--crop", choices=("coin", "whole"), default="coin", help="coin: as published, to a multiple of 4 frames")
    add("--length", choices=("given", "model"), default="given", help="who decides how long a motion made from text is")
    add("--matches", choices=("item", "label"), help="what counts as right: the clip itself, or all clips of its label "
        "(default: label where the data has labels)")  # fmt: skip
    add("--bert", metavar="DIR", type=Path, help="folder of the BERTScore model (roberta-large)")
    add("--seed", type=int, default=0, help="of the first replication (default: 0)")
    add("--batch-size", type=int, default=32, metavar="N", help="default: 32")
    add("--devices", type=int, default=1, metavar="N", help="processes that share the clips (default: 1)")
    add("--out", metavar="DIR", help="folder of results.json, .md, .tex and state (default: a folder below out/test)")
    add("--restart", action="store_true", help="throw away what the folder holds and start anew")
    add("--cache", metavar="DIR", default="out/cache", help="embeddings of real motions (default: out/cache)")
    add("--record-expected", action="store_true", help="make this real row the expected one of the evaluators")
    return command.parse_intermixed_args(arguments)


def _check(options) -> None:
    from mld.errors import RequestError

    if options.quick and options.reps not in (None, 1):
        raise RequestError(f"--quick is one replication, --reps {options.reps} asks for another number")
    options.reps = options.reps if options.reps is not None else 1 if options.quick else FULL_REPLICATIONS
    if options.multimodality is None:
        options.multimodality = 0 if options.quick else FULL_MULTIMODALITY
    if options.reps < 1 or options.batch_size < 1 or options.devices < 1:
        raise RequestError("--reps, --batch-size and --devices are at least 1")
    if options.seed < 0 or options.multimodality < 0:
        raise RequestError("--seed and --multimodality are not below 0")


def _open(options):
    """A pipeline, or a motion tokenizer alone."""
    from mld.checkpoint import load_model
    from mld.engine.pipeline import Pipeline
    from mld.errors import CheckpointError
    from mld.models.contracts.generator import MotionGenerator
    from mld.models.contracts.tokenizer import MotionTokenizer

    device = _device(options)
    network = load_model(models.folder_of(options))
    if not isinstance(network, MotionTokenizer | MotionGenerator):
        raise CheckpointError(f"--model holds an {network.kind}; give it with --evaluator, and --task real")
    return network.to(device) if isinstance(network, MotionTokenizer) else Pipeline(network.to(device))


def _device(options) -> str:
    return parallel.device_of(models.device_of(options))


def _tasks(wanted: str, engine) -> list[str]:
    from mld.errors import RequestError

    able = tasks.able(engine)
    if wanted != "all" and wanted not in able:
        raise RequestError(f"this model does not do '{wanted}'; it does {', '.join(sorted(able))}")
    return able if wanted == "all" else [wanted]


def _data_config(options):
    """The data section of `--cfg`, or the procedural set, under the overrides of the command line."""
    from mld.config import Tree, build_tree, read_overrides, to_plain
    from mld.data.config import DataConfig
    from mld.errors import ConfigError
    from mld.evaluation.setup import say

    wrong = [override for override in options.overrides if not override.startswith("data.")]
    if wrong:
        raise ConfigError(f"command line: '{wrong[0]}' is not understood; overrides here look like data.root=FOLDER")
    if not options.cfg and not options.overrides:
        say("no data given: using the procedural set (data.source=... data.root=... for another)")
    base = to_plain(models.run_of(options).data) if options.cfg else {}
    tree = Tree(base, dict.fromkeys(base, str(options.cfg)))
    overrides = read_overrides([override.removeprefix("data.") for override in options.overrides])
    config = build_tree(overrides.over(tree), DataConfig)
    config.check()
    return config


if __name__ == "__main__":
    sys.exit(run(main))
