"""`python -m test --task probes`: does a model do what the words say, or did another system, told from folders of its
results?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from commands import suites
from mld.errors import RequestError
from mld.evaluation.suites.probes.settings import ProbeSettings

NAME = "probes"
QUICK = 2  # prompts of each group, a sample each
OWN = ("samples", "group")  # options of no other suite


def add_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(f"only with --task {NAME}", "plain prompts, and facts that are measured on what "
                                       "is made of them; see docs/probes.md")  # fmt: skip
    add = group.add_argument
    add("--samples", type=int, metavar="N", help="motions of each prompt, from seeds of their own (default: "
        f"{ProbeSettings.samples})")  # fmt: skip
    add("--group", nargs="+", metavar="NAME", help="only prompts of these groups, such as sides (default: all)")


def test(options: argparse.Namespace) -> int:
    """Run it; 1 where a motion is missing or cannot be read. Motions that do something else are results, no errors."""
    settings = _settings(options)
    from mld.evaluation.suites.probes.prompts import read_suite
    from mld.evaluation.suites.probes.report import markdown
    from mld.evaluation.suites.probes.run import Run

    suite = read_suite(options.suite or ())
    suite.part(settings.groups)  # names of groups are checked before a model is opened

    def show(results: dict[str, Any]) -> None:
        print(markdown(results, brief=True))
        print(f"results: {results['folder']}/results.html (failing motions), .md (every prompt), .json, .tex\n")

    sources = _sources(options, settings)
    return suites.run_all(sources, settings, lambda source, own: Run(suite, source, own).run(), show)


def _settings(options: argparse.Namespace) -> ProbeSettings:
    """What the options say; `RequestError` for what makes no sense."""
    shared = suites.shared_settings(options, NAME)
    if options.samples is not None and options.samples < 1:
        raise RequestError(f"--samples {options.samples}: at least 1 motion of each prompt is needed")
    samples = options.samples or (1 if options.quick else ProbeSettings.samples)
    if options.quick:
        shared["limit"] = options.limit or QUICK
    return ProbeSettings(**shared, samples=samples, groups=tuple(options.group or ()))


def _sources(options: argparse.Namespace, settings: ProbeSettings) -> Sequence[Any]:
    from mld.evaluation.suites.probes.sources import FolderSource, ModelSource
    from tasks.t2m import TASK

    if options.results:
        return [FolderSource(folder, settings) for folder in options.results]
    asked = argparse.Namespace(**{**vars(options), "task": TASK.name})  # the bundled model that is best at this
    return [ModelSource(suites.model_motions(asked, settings, NAME), settings)]
