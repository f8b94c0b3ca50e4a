"""What the commands of suites share: suites are tasks with prompts of their own, over a model of this toolkit or over
folders of results of other systems."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from commands import models
from commands.common import EXIT_OK, EXIT_SOME_FAILED
from mld.errors import MldError, RequestError, one_line
from mld.evaluation.suites.settings import Floor, SuiteSettings

BATCH = 8  # motions made at once
SHARED = ("suite", "results", "partial")  # options of every suite that are off unless given
Chosen = TypeVar("Chosen", bound=SuiteSettings)


def add_options(command: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """names: of all suites."""
    group = command.add_argument_group(f"only with --task {' or '.join(names)}", "motions made for given prompts, or "
                                       "those of other systems; --limit counts prompts of each group")  # fmt: skip
    add = group.add_argument
    add("--suite", nargs="+", type=Path, metavar="FILE", help="prompts of your own (default: ours); of mbench also "
        "MBench_final.json, MBench_eval_info.json or both")  # fmt: skip
    add("--results", nargs="+", type=Path, metavar="FOLDER", help="score motions of other systems, a file <id>.npy, "
        ".pt ... for each prompt, in place of a model")  # fmt: skip
    add("--up", default=SuiteSettings.up, metavar="AXIS", help="vertical axis of joints in --results: x, y, z, -z ... "
        f"(default: {SuiteSettings.up})")  # fmt: skip
    add("--fps", type=float, default=SuiteSettings.fps, help="frame rate of joints in --results (default: "
        f"{SuiteSettings.fps:g})")  # fmt: skip
    add("--floor", choices=get_args(Floor), default=SuiteSettings.floor, help="at zero, or at the lowest joint of each "
        f"motion; of mbench in the strict column (default: {SuiteSettings.floor})")  # fmt: skip
    add("--partial", action="store_true", help="numbers over what there is, where prompts have no motion or no value")


def check_absent(options: argparse.Namespace, names: Iterable[str], of: str) -> None:
    """`RequestError` where another task is given an option that is of a suite. of: the suites that have it."""
    wrong = [name for name in names if getattr(options, name)]
    if wrong:
        raise RequestError(f"{_dashed(wrong[0])} is of --task {of}; add that, or leave it out")


def shared_settings(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Fields of `SuiteSettings` as the options say; `RequestError` for what makes no sense."""
    from mld.motion.formats.options import ReadOptions

    if options.devices != 1:
        raise RequestError(f"--devices {options.devices}: {name} runs in one process; leave it out")
    if options.overrides:
        raise RequestError(f"'{options.overrides[0]}': {name} takes prompts, no clips of a data set; see --suite")
    for other in ("controls", "record_expected", "evaluator", "reps", "multimodality", "bert", "matches"):
        if getattr(options, other):
            raise RequestError(f"{_dashed(other)} is not for --task {options.task}; leave it out")
    if options.results and (options.model or options.cfg):
        raise RequestError("--results are motions that are there, --model makes them; give one of the two")
    if options.limit is not None and options.limit < 1 or options.batch_size < 1 or options.seed < 0:
        raise RequestError("--limit and --batch-size are at least 1, --seed is not below 0")
    ReadOptions(fps=options.fps, up=options.up)  # `DataError` for what is none
    return {
        "limit": options.limit, "seed": options.seed, "fps": options.fps, "up": options.up, "floor": options.floor,
        "partial": options.partial, "device": models.device_of(options), "batch_size": min(options.batch_size, BATCH),
        "out": options.out, "restart": options.restart, "progress": sys.stderr.isatty(),
    }  # fmt: skip


def model_motions(options: argparse.Namespace, settings: SuiteSettings, suite: str):
    """Those of the model that the options name; it is opened where a motion is missing. suite: as of `ModelMotions`."""
    from mld.evaluation.suites.motions import ModelMotions

    folder = models.folder_of(options)
    opened = models.sampling(options)
    if options.weights != models.WEIGHTS[0]:
        opened = {"weights": options.weights, **opened}
    words = ", ".join(f"{name} {value}" for name, value in opened.items())
    return ModelMotions(folder, lambda: _pipeline(options, folder, settings.device), settings, suite, words)


def run_all(
    sources: Sequence[Any], settings: Chosen, run: Callable[[Any, Chosen], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
) -> int:  # fmt: skip
    """Run the suite over every source and show what comes out; several end in a table that joins them. The exit code: 1
    where something that should have a value has none."""
    from mld.evaluation.leaderboard import merge

    found: dict[str, Any] = {}
    many, code = len(sources) > 1, EXIT_OK
    for source in sources:
        name = source.about["name"]
        name = name if name not in found else f"{name}-{len(found) + 1}"
        try:
            results = run(source, _in_folder(settings, name) if many else settings)
        except MldError as error:
            if not many:
                raise
            print(f"error: {error}", file=sys.stderr)
            code = EXIT_SOME_FAILED
            continue
        found[name] = results
        show(results)
        for problem in results["data"]["problems"]:
            print(one_line(problem), file=sys.stderr)
            code = EXIT_SOME_FAILED
    if many:
        print("\n\n".join(table.markdown() for table in merge(found)))
    return code


def _pipeline(options: argparse.Namespace, folder: str, device: str):
    from mld.engine.pipeline import Pipeline

    pipeline = Pipeline.load(folder, device, options.weights, models.sampling(options), options.text_encoder)
    if pipeline.rounding:
        print(pipeline.rounding, file=sys.stderr)
    pipeline.bones = "clip"  # joints as the network has them
    return pipeline


def _in_folder(settings: Chosen, name: str) -> Chosen:
    """Each of several systems has a folder of its own."""
    return settings if settings.out is None else replace(settings, out=settings.out / name)


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"
