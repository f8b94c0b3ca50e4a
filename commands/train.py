"""The command `train`: run the stage or stages of a config file, or go on with a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from commands.common import parser, run
from mld.packaged import find_config

EPILOG = """\
examples:
  mld train --cfg quickstart/all                        every stage, made-up data, minutes on a CPU
  mld train --cfg cmu/all data.root=FOLDER training.max_steps=5000
  mld train --cfg my/config.yaml
  mld train --resume runs/cmu/tokenizer training.max_steps=20000

A name that is no file is looked up among the configs that come with the package. In a clone, python -m train does
the same without an installed command. An interrupted run goes on when the same command is given again."""

NEXT = {
    "tokenizer": "done: {}",
    "evaluator": 'search with it: mld prepare retrieve "TEXT" --motions FOLDER --evaluator {}',
}


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    if not options.cfg and not options.resume:
        from mld.errors import ConfigError

        raise ConfigError("say what to train: --cfg quickstart/all, or --resume RUN_FOLDER")
    overrides = list(options.overrides)
    if options.debug is not None:
        overrides.append(f"debug={str(options.debug).lower()}")
    configs = _continued(options, overrides) if options.resume else _loaded(options.cfg, overrides)
    if options.dry_run:
        return _dry_run(configs, options.cfg)

    from mld.training.callbacks import Stopped
    from mld.training.stages import resume, run_stages, say

    try:
        if options.resume:
            models = resume(options.resume, configs[0], options.changed_data)
        else:
            models = run_stages(configs, options.fresh, options.changed_data)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    say(NEXT.get(configs[-1].stage, "try it: mld demo --model {}").format(models[-1]))
    return 0


def _parse(arguments: Sequence[str]):
    command = parser("train", "Train a motion tokenizer, a motion-language model or an evaluator.", EPILOG)
    command.add_argument("--cfg", metavar="FILE", help="config of one stage or a list of stages: file or packaged name")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")
    command.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, with its own settings")
    command.add_argument("--fresh", action="store_true", help="start anew; an earlier run folder is renamed and kept")
    command.add_argument("--changed-data", action="store_true", help="go on although the clips are no longer the same")
    command.add_argument("--dry-run", action="store_true", help="print resolved config and parameter count, and stop")
    short = command.add_mutually_exclusive_group()
    trial = "a short trial: 20 steps a stage, in a run folder of its own"
    short.add_argument("--debug", action="store_true", default=None, help=trial)
    short.add_argument("--nodebug", dest="debug", action="store_false", help="a full run, whatever the file says")
    return command.parse_intermixed_args(arguments)


def _loaded(path: str, overrides: list[str]):
    from mld.training.run_config import load_runs

    return load_runs(find_config(path), overrides)


def _continued(options, overrides: list[str]):
    """The config to resume with: that of `--cfg` if it is the run's own, else the run's with the overrides."""
    from mld.training.run_folder import open_run

    run_folder = open_run(options.resume)
    if options.cfg:
        return [run_folder.matching(_loaded(options.cfg, overrides), options.cfg)]
    return [run_folder.resumed(overrides)]


def _dry_run(configs, path: str | None) -> int:
    from pathlib import Path

    from mld.config import to_yaml
    from mld.training.dry_run import describe_runs

    beside = Path(find_config(path)) if path else None
    told = []
    for config, lines in zip(configs, describe_runs(configs, beside)):
        told.append("\n".join([f"# {config.folder}", to_yaml(config).rstrip(), *(f"# {line}" for line in lines)]))
    print("\n\n".join(told))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
