"""`python -m test --task mbench`: MBench over a model of this toolkit, or over folders of results of other systems."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from commands import models
from commands.common import EXIT_OK, EXIT_SOME_FAILED
from mld.errors import MldError, RequestError, one_line
from mld.evaluation.suites.mbench.settings import Floor, MBenchSettings, Schedule

NAME = "mbench"
TEXTS = ("prompt", "motion", "video")
QUICK, BATCH = 3, 8  # prompts of each group; motions made at once


def add_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(f"only with --task {NAME}", "nine dimensions of motions made for given prompts; "
                                       "see docs/mbench.md. --limit counts prompts of each group.")  # fmt: skip
    add = group.add_argument
    add("--suite", nargs="+", type=Path, metavar="FILE", help="prompts: MBench_final.json, MBench_eval_info.json, "
        "both, or a file of your own (default: our 64 prompts)")  # fmt: skip
    add("--results", nargs="+", type=Path, metavar="FOLDER", help="score motions of other systems, a file <id>.npy, "
        ".pt ... for each prompt, in place of a model")  # fmt: skip
    add("--dimensions", nargs="+", metavar="NAME", help="only these, such as Jitter_Degree (default: all nine)")
    add("--text", choices=TEXTS, default=MBenchSettings.text, help="what a model is told, or was: the short prompt, or "
        f"the detailed text of the motion or of the video (default: {MBenchSettings.text})")  # fmt: skip
    add("--judge", default="", metavar="SPEC", help="who decides the judged dimensions: https://HOST/v1#MODEL (key in "
        "MLD_JUDGE_KEY), a folder of a vision-language model, or replay:FOLDER (default: nobody)")  # fmt: skip
    add("--body-models", type=Path, metavar="DIR", help="folder of the SMPL model, for the pose dimensions")
    add("--nrdf", type=Path, metavar="FILE", help="NRDF checkpoint or its folder, for Pose_Quality")
    add("--fit", choices=get_args(Schedule), default=MBenchSettings.fit, help="how bodies are fitted: to the lowest "
        "loss, or by the published schedule, minutes a motion and no better (default: lowest)")  # fmt: skip
    add("--up", default=MBenchSettings.up, metavar="AXIS", help="vertical axis of joints in --results: x, y, z, -z ... "
        f"(default: {MBenchSettings.up})")  # fmt: skip
    add("--fps", type=float, default=MBenchSettings.fps, help="frame rate of joints in --results (default: "
        f"{MBenchSettings.fps:g})")  # fmt: skip
    add("--floor", choices=get_args(Floor), default=MBenchSettings.floor, help="of the strict column: at zero, or at "
        f"the lowest joint of each motion (default: {MBenchSettings.floor})")  # fmt: skip
    add("--partial", action="store_true", help="means over what there is, where prompts have no motion or no value")
    add("--published-files", action="store_true", help="also the three JSON files of the published evaluator")


def check_absent(options: argparse.Namespace) -> None:
    """`RequestError` where another task is given an option that it has not."""
    wrong = [name for name in ("suite", "results", "dimensions", "judge", "body_models", "nrdf", "partial")
             if getattr(options, name)]  # fmt: skip
    if wrong:
        raise RequestError(f"--{wrong[0].replace('_', '-')} is of --task {NAME}; add that, or leave it out")


def test(options: argparse.Namespace) -> int:
    """Run it; 1 where something that should have a value has none."""
    settings = _settings(options)
    from mld.evaluation.leaderboard import merge
    from mld.evaluation.suites.mbench.prompts import read_suite
    from mld.evaluation.suites.mbench.report import markdown
    from mld.evaluation.suites.mbench.run import Run
    from mld.evaluation.suites.mbench.scorers import open_scorers

    suite, code = read_suite(options.suite or ()), EXIT_OK
    scorers, many = open_scorers(settings), len(options.results or ()) > 1
    found: dict[str, Any] = {}
    for source in _sources(options, settings):
        name = source.about["name"]
        name = name if name not in found else f"{name}-{len(found) + 1}"
        try:
            results = Run(suite, source, _in_folder(settings, name) if many else settings, scorers).run()
        except MldError as error:
            if not many:
                raise
            print(f"error: {error}", file=sys.stderr)
            code = EXIT_SOME_FAILED
            continue
        found[name] = results
        print(markdown(results))
        print(f"results: {results['folder']}/results.json, .md, .tex, .html (worst and best clips), records\n")
        for problem in results["data"]["problems"]:
            print(one_line(problem), file=sys.stderr)
            code = EXIT_SOME_FAILED
    if many:
        print("\n\n".join(table.markdown() for table in merge(found)))
    return code


def _settings(options: argparse.Namespace) -> MBenchSettings:
    """What the options say; `RequestError` for what makes no sense."""
    from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, JOINT
    from mld.evaluation.suites.mbench.prompts import check_dimensions
    from mld.motion.formats.options import ReadOptions

    if options.devices != 1:
        raise RequestError(f"--devices {options.devices}: MBench runs in one process; leave it out")
    if options.overrides:
        raise RequestError(f"'{options.overrides[0]}': MBench takes prompts, no clips of a data set; see --suite")
    for name in ("controls", "record_expected", "evaluator", "reps", "multimodality", "bert", "matches"):
        if getattr(options, name):
            raise RequestError(f"--{name.replace('_', '-')} is not for --task {NAME}; leave it out")
    if options.results and (options.model or options.cfg):
        raise RequestError("--results are motions that are there, --model makes them; give one of the two")
    if options.limit is not None and options.limit < 1 or options.batch_size < 1 or options.seed < 0:
        raise RequestError("--limit and --batch-size are at least 1, --seed is not below 0")
    ReadOptions(fps=options.fps, up=options.up)  # `DataError` for what is none
    dimensions = check_dimensions(options.dimensions or ())
    limit = options.limit
    if options.quick:
        joint = tuple(name for name, one in DIMENSIONS.items() if one.needs == JOINT)
        dimensions, limit = dimensions or joint, limit or QUICK
    return MBenchSettings(
        dimensions=dimensions, limit=limit, mode=options.mode, text=options.text, seed=options.seed, fps=options.fps,
        up=options.up, floor=options.floor, partial=options.partial, body_models=options.body_models, nrdf=options.nrdf,
        fit=options.fit, judge=options.judge, published=options.published_files, device=models.device_of(options),
        batch_size=min(options.batch_size, BATCH), out=options.out, restart=options.restart,
        cache=options.cache / NAME, progress=sys.stderr.isatty(),
    )  # fmt: skip


def _sources(options: argparse.Namespace, settings: MBenchSettings) -> Sequence[Any]:
    from mld.evaluation.suites.mbench.sources import FolderSource, ModelSource

    if options.results:
        return [FolderSource(folder, settings) for folder in options.results]
    folder = models.folder_of(options)
    opened = models.sampling(options)
    if options.weights != models.WEIGHTS[0]:
        opened = {"weights": options.weights, **opened}
    words = ", ".join(f"{name} {value}" for name, value in opened.items())
    return [ModelSource(folder, lambda: _pipeline(options, folder, settings.device), settings, words)]


def _pipeline(options: argparse.Namespace, folder: str, device: str):
    from mld.engine.pipeline import Pipeline

    pipeline = Pipeline.load(folder, device, options.weights, models.sampling(options), options.text_encoder)
    if pipeline.rounding:
        print(pipeline.rounding, file=sys.stderr)
    pipeline.bones = "clip"  # joints as the network has them
    return pipeline


def _in_folder(settings: MBenchSettings, name: str) -> MBenchSettings:
    """Each of several systems has a folder of its own."""
    from dataclasses import replace

    return settings if settings.out is None else replace(settings, out=settings.out / name)


