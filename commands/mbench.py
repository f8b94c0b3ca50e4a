"""`python -m test --task mbench`: MBench over a model of this toolkit, or over folders of results of other systems."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from commands import suites
from mld.evaluation.suites.mbench.settings import MBenchSettings, Schedule

NAME, TITLE = "mbench", "MBench"
TEXTS = ("prompt", "motion", "video")
QUICK = 3  # prompts of each group
OWN = ("dimensions", "judge", "body_models", "nrdf", "published_files")  # options of no other suite


def add_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(f"only with --task {NAME}", "nine dimensions of motions made for given prompts; "
                                       "see docs/mbench.md")  # fmt: skip
    add = group.add_argument
    add("--dimensions", nargs="+", metavar="NAME", help="only these, such as Jitter_Degree (default: all nine)")
    add("--text", choices=TEXTS, default=MBenchSettings.text, help="what a model is told, or was: the short prompt, or "
        f"the detailed text of the motion or of the video (default: {MBenchSettings.text})")  # fmt: skip
    add("--judge", default="", metavar="SPEC", help="who decides the judged dimensions: https://HOST/v1#MODEL (key in "
        "MLD_JUDGE_KEY), a folder of a vision-language model, or replay:FOLDER (default: nobody)")  # fmt: skip
    add("--body-models", type=Path, metavar="DIR", help="folder of the SMPL model, for the pose dimensions")
    add("--nrdf", type=Path, metavar="FILE", help="NRDF checkpoint or its folder, for Pose_Quality")
    add("--fit", choices=get_args(Schedule), default=MBenchSettings.fit, help="how bodies are fitted: to the lowest "
        "loss, or by the published schedule, minutes a motion and no better (default: lowest)")  # fmt: skip
    add("--published-files", action="store_true", help="also the three JSON files of the published evaluator")


def test(options: argparse.Namespace) -> int:
    """Run it; 1 where something that should have a value has none."""
    settings = _settings(options)
    from mld.evaluation.suites.mbench.prompts import read_suite
    from mld.evaluation.suites.mbench.report import markdown
    from mld.evaluation.suites.mbench.run import Run
    from mld.evaluation.suites.mbench.scorers import open_scorers

    suite, scorers = read_suite(options.suite or ()), open_scorers(settings)

    def show(results: dict[str, Any]) -> None:
        print(markdown(results))
        print(f"results: {results['folder']}/results.json, .md, .tex, .html (worst and best clips), records\n")

    sources = _sources(options, settings)
    return suites.run_all(sources, settings, lambda source, own: Run(suite, source, own, scorers).run(), show)


def _settings(options: argparse.Namespace) -> MBenchSettings:
    """What the options say; `RequestError` for what makes no sense."""
    from mld.evaluation.suites.mbench.dimensions import DIMENSIONS, JOINT
    from mld.evaluation.suites.mbench.prompts import check_dimensions

    shared = suites.shared_settings(options, TITLE)
    dimensions = check_dimensions(options.dimensions or ())
    if options.quick:
        joint = tuple(name for name, one in DIMENSIONS.items() if one.needs == JOINT)
        dimensions, shared["limit"] = dimensions or joint, options.limit or QUICK
    return MBenchSettings(
        **shared, dimensions=dimensions, mode=options.mode, text=options.text, body_models=options.body_models,
        nrdf=options.nrdf, fit=options.fit, judge=options.judge, published=options.published_files,
        cache=options.cache / NAME,
    )  # fmt: skip


def _sources(options: argparse.Namespace, settings: MBenchSettings) -> Sequence[Any]:
    from mld.evaluation.suites.mbench.sources import FolderSource, ModelSource

    if options.results:
        return [FolderSource(folder, settings) for folder in options.results]
    return [ModelSource(suites.model_motions(options, settings, TITLE), settings)]
