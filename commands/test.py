"""The command `test`: a model over a split of a dataset, numbers with their protocol into `results.json`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import tasks
from commands import mbench, models, parallel, probes, suites
from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run
from mld.errors import CheckpointError, ConfigError, RequestError
from mld.evaluation import settings
from mld.evaluation.settings import Settings

if TYPE_CHECKING:
    from mld.evaluation.subject import Subject

REAL, ALL, NONE = "real", "all", "none"
SUITES = (mbench, probes)
EPILOG = """\
t2m        R-precision, matching score, FID, KID, diversity, MultiModality, retrieval; length error, skating, jerk
m2t        R-precision and retrieval of the captions; BLEU, ROUGE-L, CIDEr in four conventions, exact matches
pred       ADE, FDE (m) with the first 20 % given; FID, diversity
inbetween  the same with the first and last 25 % given
t2t        how long a described motion takes, asked in words: error of the answers in seconds
stream     the captions of two clips, one after the other: the numbers of t2m for the parts; FID and diversity of
           windows around the changes, peak jerk, area under jerk, skating, beside those of real motion
recon      MPJPE, PA-MPJPE (mm), ACCEL (mm/frame^2) of the motion tokenizer, mean and largest acceleration beside those
           of real motion, use of its codes; FID, diversity
probes     does it do what the words say: motions made for prompts such as "a person turns left", checked by facts that
           are measured on them (docs/probes.md); also of motions that other systems made (--results FOLDER)
mbench     MBench: made for prompts, nine dimensions of motion quality, poses and meaning (docs/mbench.md); also of
           motions that other systems made (--results FOLDER)
real       only the real motions, to look at an evaluator; needs no model

The real motions are always measured first, with the same captions, crops and groups. A metric that cannot be computed
is null in results.json, with the reason. A run that was stopped goes on when the same command is given again.

examples:
  python -m test --task t2m --quick data.source=joints data.root=../shared/data/cmu-mocap-text
  python -m test --cfg configs/cmu/instruct.yaml --task all --devices 2
  python -m test --task real --controls --evaluator runs/tmr/model data.source=joints data.root=FOLDER
  python -m test --task probes --group sides counts --samples 2
  python -m test --task mbench --quick
  python -m test --task mbench --suite MBench_final.json MBench_eval_info.json --results FOLDER"""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    for suite in SUITES:
        if options.task != suite.NAME:
            suites.check_absent(options, suite.OWN, suite.NAME)
    if (chosen := {suite.NAME: suite for suite in SUITES}.get(options.task)) is not None:
        return chosen.test(options)
    suites.check_absent(options, suites.SHARED, " or ".join(suite.NAME for suite in SUITES))
    if options.devices > 1 and not parallel.is_worker():
        return parallel.launch(main, arguments, options.devices)
    return _test(options)


def _test(options) -> int:
    chosen = _settings(options)
    config = _data_config(options)
    from mld.evaluation.published import counts
    from mld.evaluation.report import markdown
    from mld.evaluation.run import evaluate
    from mld.metrics.ranks import say

    subject = None if options.task == REAL else _subject(options, chosen.device)
    wanted = [] if subject is None else _wanted(options.task, subject)
    if subject is not None and not options.quick:
        chosen = counts(chosen, subject, options.reps, options.multimodality)
    results = evaluate(config, chosen, subject, wanted)
    say(markdown(results, brief=True))
    say(f"results: {results['folder']}/results.json, .md (with retrieval), .tex")
    return EXIT_SOME_FAILED if results["data"]["problems"] else EXIT_OK


def _parse(arguments: Sequence[str]):
    command = parser("test", "Evaluate a model on a split of a dataset.", EPILOG)
    models.add_options(command)
    command.add_argument(
        "overrides", nargs="*", metavar="data.key=value", help="where the clips come from, such as data.source=joints "
        "data.root=FOLDER (default: the data of --cfg, else the procedural set)",
    )  # fmt: skip
    add = command.add_argument
    names = (*tasks.NAMES, *(suite.NAME for suite in SUITES), REAL, ALL)
    add("--task", choices=names, default=ALL, help=f"what to test (default: {ALL})")
    add("--split", choices=get_args(settings.Split), default=Settings.split, help=f"default: {Settings.split}")
    add("--limit", type=int, metavar="N", help="only the first N clips")
    add("--evaluator", action="append", metavar="DIR", help="evaluator folder, more than once for several; 'none' for "
        "none (default: the bundled ones that fit the data)")  # fmt: skip
    add("--reps", type=int, metavar="N", help=f"replications with seeds S, S+1, ... (default: {Settings.replications})")
    add("--quick", action="store_true", help="1 replication with 95%% intervals over clips, no MultiModality; never "
        "to be compared with tables of 20")  # fmt: skip
    add("--controls", action="store_true", help="rows that must be bad: shuffled captions, mean pose")
    add("--multimodality", type=int, metavar="N", help="captions that are answered 30 times each (default: "
        f"{Settings.multimodality}, 0 with --quick)")  # fmt: skip
    add("--mode", choices=get_args(settings.Mode), default=Settings.mode, help="upstream: with the quirks of published "
        "code, and as the model's family was tested (replications included)")  # fmt: skip
    add("--captions", choices=get_args(settings.Captions), default=Settings.captions, help="which one of a clip "
        f"(default: {Settings.captions})")  # fmt: skip
    add("--crop", choices=get_args(settings.Crop), default=Settings.crop, help="coin: as published, to a multiple of "
        "data.unit_length frames (4)")  # fmt: skip
    add("--length", choices=get_args(settings.Length), default=Settings.length, help="who decides how long a motion "
        "made from text is")  # fmt: skip
    add("--matches", choices=get_args(settings.Matches), help="what counts as right: the clip itself, or "
        "all clips of its label (default: label where the data has labels)")  # fmt: skip
    add("--bert", metavar="DIR", type=Path, help="folder of the BERTScore model (roberta-large)")
    add("--seed", type=int, default=Settings.seed, help="of the first replication (default: 0)")
    add("--batch-size", type=int, default=Settings.batch_size, metavar="N", help=f"default: {Settings.batch_size}")
    add("--devices", type=int, default=1, metavar="N", help="processes that share the clips (default: 1)")
    add("--out", metavar="DIR", type=Path, help="folder of results.json, .md, .tex and state (default: a folder below "
        "out/test)")  # fmt: skip
    add("--restart", action="store_true", help="throw away what the folder holds and start anew")
    add("--cache", metavar="DIR", type=Path, default=Settings.cache, help="embeddings of real motions (default: "
        f"{Settings.cache})")  # fmt: skip
    suites.add_options(command, [suite.NAME for suite in SUITES])
    for suite in SUITES:
        suite.add_options(command)
    add("--record-expected", action="store_true", help="make this real row the expected one of the evaluators")
    return command.parse_intermixed_args(arguments)


def _settings(options) -> Settings:
    """What the options say; `RequestError` for numbers that make no sense."""
    if options.quick and options.reps not in (None, 1):
        raise RequestError(f"--quick is one replication, --reps {options.reps} asks for another number")
    replications, multimodality = (1, 0) if options.quick else (Settings.replications, Settings.multimodality)
    replications = replications if options.reps is None else options.reps
    multimodality = multimodality if options.multimodality is None else options.multimodality
    if replications < 1 or options.batch_size < 1 or options.devices < 1:
        raise RequestError("--reps, --batch-size and --devices are at least 1")
    if options.seed < 0 or multimodality < 0:
        raise RequestError("--seed and --multimodality are not below 0")
    return Settings(
        split=options.split, limit=options.limit, seed=options.seed, replications=replications,
        multimodality=multimodality, mode=options.mode, captions=options.captions, crop=options.crop,
        length=options.length, matches=options.matches, controls=options.controls,
        record_expected=options.record_expected, evaluators=_evaluators(options.evaluator), bert=options.bert,
        device=parallel.device_of(models.device_of(options)), batch_size=options.batch_size, out=options.out,
        restart=options.restart, cache=options.cache, progress=sys.stderr.isatty(),
    )  # fmt: skip


def _evaluators(named: list[str] | None) -> tuple[Path, ...] | None:
    if not named:
        return None
    return () if NONE in named else tuple(map(Path, named))


def _subject(options, device: str) -> Subject:
    """The model of the options: with a language part, or a motion tokenizer alone."""
    from mld.checkpoint import open_model
    from mld.engine.options import set_sampling
    from mld.engine.pipeline import Pipeline
    from mld.evaluation.subject import Subject
    from mld.models.contracts.generator import MotionGenerator
    from mld.models.contracts.tokenizer import MotionTokenizer

    folder = models.folder_of(options)
    network, rounding = open_model(folder, device, weights=options.weights)
    if not isinstance(network, MotionTokenizer | MotionGenerator):
        raise CheckpointError(f"--model holds an {network.kind}; give it with --evaluator, and --task real")
    if isinstance(network, MotionTokenizer):
        if _opened_with(options):
            raise RequestError("this is a tokenizer; --weights, --sampler, --steps and --sampling are for what answers")
        engine: MotionTokenizer | Pipeline = network
    else:
        set_sampling(network, models.sampling(options))
        if rounding:
            print(rounding, file=sys.stderr)
        engine = Pipeline(network, bones="clip", text_encoder=options.text_encoder)
    opened = ", ".join(f"{name} {value}" for name, value in _opened_with(options).items())
    return Subject(engine, folder, tuple(map(tasks.find, tasks.able(engine))), opened_with=opened)


def _opened_with(options) -> dict[str, Any]:
    """What the options say of weights and sampling, beyond what the model says itself."""
    weights = {} if options.weights == models.WEIGHTS[0] else {"weights": options.weights}
    return weights | models.sampling(options)


def _wanted(name: str, subject: Subject) -> list:
    """The tasks to measure; `RequestError` for one that the model does not do."""
    able = {task.name: task for task in subject.tasks}
    if name != ALL and name not in able:
        raise RequestError(f"this model does not do '{name}'; it does {', '.join(sorted(able))}")
    return [task for task in able.values() if task.among_all(subject.engine)] if name == ALL else [able[name]]


def _data_config(options):
    """The data section of `--cfg`, or the procedural set, under the overrides of the command line."""
    from mld.config import Tree, build_tree, read_overrides, to_plain
    from mld.data.config import DataConfig
    from mld.metrics.ranks import say

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
