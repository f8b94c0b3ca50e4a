"""The command `demo`: lines of text or motion files in, motions and captions out."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tasks
from commands import models
from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

FILES, OVERVIEWS = "npy", ("png", "html")  # of each motion and of all, where nothing is said
NAMES = {"plain": "own", "mixamo": "mixamo", "unreal": "unreal"}
MOST = 10_000  # answers to a line, requests at once
EPILOG = """\
one request per line; blank lines and lines that start with # are skipped:
  t2m        a person walks | a person walks#120 (frames) | a person walks#6s | a person walks#like.npy
             ref:motion.npy (what is made follows it, with models that read references) | ref:motion.npy#120
  m2t        motion.npy | What is this?#motion.npy
  pred       head.npy | head.npy#8 (seconds of the whole) | then sits down#head.npy
  inbetween  motion.npy (its first and last quarter are kept) | a.npy#b.npy | a.npy#b.npy#8
             waves#motion.npy#2s-4s (made anew from 2 to 4 s, the rest stays)
  stream     0s a person walks | 4s they turn left | 8s they sit down | 12s (the last time is the end)
             a person walks (one text alone lasts 4 s, or --seconds)
  t2t        a question or an instruction in words
  recon      motion.npy, through the motion tokenizer and back
  prompts with <motion>, <Motion_Placeholder_s1>, <Caption_Placeholder> ... are used word for word: PROMPT#motion.npy
.npy files hold joints (T, 22, 3) in metres, y up, or features (T, 263), 20 frames per second.

examples:
  python demo.py                                      demos/t2m.txt with the bundled model
  python demo.py --text "a person jumps" --num-samples 4
  python demo.py --task m2t --example my_motions.txt --out out/captions"""


@dataclass
class Job:
    """One request and where it comes from. number: of its output files."""

    where: str
    line: int
    number: int
    request: object


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    print(f"{options.task}: starting", file=sys.stderr, flush=True)  # at once: what comes now takes seconds to import
    from commands.earlier import put_aside
    from commands.outputs import Outputs, check_formats
    from mld.engine.checks import LONGEST, SEEDS
    from mld.errors import RequestError, one_line, shown

    options.clean = _cleans(options)  # one run, said or not
    for name, value in (("--num-samples", options.num_samples), ("--batch-size", options.batch_size)):
        if not 1 <= value <= MOST:
            raise RequestError(f"{name} is {shown(value)}, expected a whole number from 1 to {MOST:,}")
    if options.seed not in SEEDS:
        raise RequestError(f"--seed is {shown(options.seed)}, expected a whole number from -2^63 to 2^64 - 1")
    if options.seconds is not None and not 1e-3 <= options.seconds < LONGEST:
        raise RequestError(f"--seconds {options.seconds:g}: a motion lasts a millisecond or more, and not for ever")
    if options.fps is not None and not 0 < options.fps <= 1000:
        raise RequestError(f"--fps {options.fps:g}: a number above 0 and up to 1000")
    formats, lines, source = check_formats(options.format or FILES), *_lines(options)
    originals: dict[int, str] = {}
    if options.rewrite:
        lines, originals = _rewritten(options, lines)
    requests = "1 request" if len(lines) == 1 else f"{len(lines)} requests"
    print(f"{options.task}: {requests}; opening the model", file=sys.stderr, flush=True)
    pipeline = _open(options, lines, source)
    folder = Path(options.out or f"out/{options.task}")
    _make(folder)
    settings = _settings(options, source, lines)
    if told := put_aside(folder, settings):
        print(one_line(told), file=sys.stderr)
    outputs = Outputs(folder, formats, pipeline.representation, pipeline.model.tokenizer.layout,
                      settings, clean_up=options.clean,
                      overviews=None if options.format else OVERVIEWS, names=NAMES[options.names], fps=options.fps,
                      originals=originals)
    task = tasks.find(options.task)
    jobs, failures = _jobs(task, lines, source, options, pipeline, outputs)
    failures += _serve(jobs, options.batch_size, partial(_together, task, pipeline), outputs)
    return _finish(outputs, failures)


def _parse(arguments: Sequence[str]):
    command = parser("demo", "Motions from text, captions from motions, continuations and in-betweens.", EPILOG)
    models.add_options(command, text_encoder="unload")  # all words are known, and read before the model is
    what = f"what to do (default: {tasks.DEFAULT})"
    command.add_argument("--task", choices=list(tasks.NAMES), default=tasks.DEFAULT, help=what)
    lines = command.add_mutually_exclusive_group()
    lines.add_argument("--example", metavar="FILE", help="request file (default: demos/<task>.txt)")
    lines.add_argument("--text", metavar="LINE", action="append", help="a request on the command line; may be repeated")
    command.add_argument("--out", metavar="DIR", help="where the results go (default: out/<task>)")
    command.add_argument("--format", help="files per motion: npy,bvh,png,mp4,html ... (default: npy, and a picture and "
                                          "a 3D page of all motions)")
    command.add_argument("--names", choices=list(NAMES), default="plain", help="joint names in bvh, glb and gltf files")
    command.add_argument("--fps", type=float, metavar="N", help="frame rate of the files (default: the model's)")
    command.add_argument("--seed", type=int, default=0, help="same seed, same motion (default: 0)")
    command.add_argument("--num-samples", type=int, default=1, metavar="N", help="answers per line (default: 1)")
    command.add_argument("--batch-size", type=int, default=8, metavar="N", help="requests served at once (default: 8)")
    command.add_argument("--seconds", type=float, help="length where the line names none (default: the model decides)")
    command.add_argument("--bones", choices=("model", "clip"), default="model",
                         help="one body for all motions, with rotations, or each with bones of its own as the network "
                              "has them (default: model)")
    command.add_argument("--clean", action=argparse.BooleanOptionalAction, default=None,
                         help="smooth motions, set them on the floor and hold standing feet; numbers in index.json "
                              "(default: yes, but for --task recon and --bones clip)")
    command.add_argument("--rewrite", metavar="FOLDER", help="let a causal language model, a local folder of the "
                         "transformers layout, rewrite the texts first; the texts as they were go into index.json")
    return command.parse_args(arguments)


def _cleans(options) -> bool:
    """Whether motions are cleaned up: where nothing is said, unless they show what the network makes."""
    if options.clean is not None:
        return options.clean
    return options.bones == "model" and not tasks.find(options.task).as_it_is


def _rewritten(options, lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], dict[int, str]]:
    """Lines with their texts rewritten, and by number what they were. Lengths behind `#` stay; prompts with
    placeholders are word for word. The model of language is gone when this one is opened."""
    from mld.engine.rewriting import rewrite
    from mld.errors import RequestError
    from tasks.lines import placeholders

    if options.task != tasks.DEFAULT:
        raise RequestError(f"--rewrite is for texts that become motion: --task {tasks.DEFAULT}")
    parts = {number: line.partition("#") for number, line in lines}
    texts = {number: " ".join(text.split()) for number, (text, *_) in parts.items() if not placeholders(text)}
    asked = [text for text in texts.values() if text]
    print(f"rewriting {len(asked)} texts with {options.rewrite}", file=sys.stderr, flush=True)
    found = rewrite(asked, options.rewrite, models.device_of(options), options.seed,
                    lambda one: print(one, file=sys.stderr, flush=True))  # fmt: skip
    said = {one.text: one.said for one in found}
    made, originals = [], {}
    for number, line in lines:
        text, mark, length = parts[number]
        new = said.get(texts.get(number, ""))
        made.append((number, line if new is None else f"{new}{mark}{length}"))
        if new is not None:
            originals[number] = text.strip()
    return made, originals


def _lines(options) -> tuple[list[tuple[int, str]], str]:
    """Numbered lines, and the name of what they come from."""
    from mld.errors import RequestError
    from tasks.lines import read_lines

    if options.text:
        return list(enumerate(options.text, start=1)), "--text"
    path = Path(options.example) if options.example else models.demos(options.task)
    lines = list(read_lines(path))
    if not lines:
        raise RequestError(f"{path}: no request in it; write one per line")
    return lines, options.example or str(path)


def _open(options, lines: list[tuple[int, str]], source: str):
    from mld.engine.pipeline import Pipeline
    from mld.errors import RequestError

    folder = models.folder_of(options)
    pipeline = Pipeline.load(
        folder, models.device_of(options), options.weights, models.sampling(options), options.text_encoder,
        _prompts(folder, options, lines, source),
    )  # fmt: skip
    if pipeline.rounding:
        print(pipeline.rounding, file=sys.stderr)
    able = tasks.able(pipeline)
    pipeline.bones = options.bones
    if options.task not in able:
        raise RequestError(f"this model does not do '{options.task}'; it does {', '.join(able)}")
    return pipeline


def _make(folder: Path) -> None:
    from mld.errors import RequestError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {folder}: cannot be made a folder ({error.strerror})") from error


def _settings(options, source: str, lines: list[tuple[int, str]]) -> dict:
    """What `index.json` says about the run. run: a hash of all that the results follow from."""
    from mld.checkpoint import resolve_folder, weights_hash
    from mld.version import __version__

    model = models.folder_of(options)
    asked = {name: value for name, value in vars(options).items() if name not in ("out", "batch_size", "traceback")}
    known = repr((sorted(asked.items(), key=str), lines, weights_hash(resolve_folder(model)), __version__))
    return {
        "run": hashlib.sha256(known.encode("utf-8", "backslashreplace")).hexdigest()[:16],
        "task": options.task, "source": source, "model": model,
        "model_hash": weights_hash(resolve_folder(model))[:16], "seed": options.seed,
        "num_samples": options.num_samples, "seconds": options.seconds, "mld_version": __version__,
        "weights": options.weights, "sampling": models.sampling(options),
    }  # fmt: skip


def _prompts(folder: str, options, lines: list[tuple[int, str]], source: str) -> list:
    """What a model with a text encoder will be asked, as far as it is words; bad lines are told later."""
    from mld.checkpoint import outline, resolve_folder
    from mld.engine.pipeline import Pipeline
    from mld.errors import MldError
    from mld.evaluation.task import SequenceTask
    from mld.models.contracts.generator import MotionGenerator

    network, found = outline(resolve_folder(folder)), []
    if options.text_encoder != "unload" or not isinstance(network, MotionGenerator):
        return []
    model, task = Pipeline(network), tasks.find(options.task)
    if not (model.texts.encoders and task.serves(model)):
        return []
    setting = _setting(model, options, source)
    for _, text in lines:
        with contextlib.suppress(MldError):
            prompt = task.parse(text, setting).prompt
            found += [(part,) for part in prompt] if isinstance(task, SequenceTask) else [prompt]
    return found


def _setting(pipeline, options, source: str):
    from mld.evaluation.task import Setting

    folder = Path() if source == "--text" else Path(source).parent
    return Setting(pipeline.representation, pipeline.model.tokenizer.layout.unit, folder, options.seconds, options.seed)


def _jobs(task, lines, source: str, options, pipeline, outputs) -> tuple[list[Job], int]:
    """The requests of all good lines; bad ones are reported and counted."""
    from mld.errors import MldError

    jobs, failures, setting = [], 0, _setting(pipeline, options, source)
    for line, text in lines:
        try:
            request = task.parse(text, setting)
        except MldError as error:
            failures += _report(f"{source}:{line}", line, str(error), outputs)
            continue
        for sample in range(options.num_samples):
            seeded = dataclasses.replace(request, seed=options.seed + sample)
            jobs.append(Job(f"{source}:{line}", line, len(jobs), seeded))
    return jobs, failures


def _serve(jobs: list[Job], batch_size: int, serve: Callable[[list], list], outputs) -> int:
    """Answer the jobs in batches and write each batch as it comes; the number of jobs that failed. serve: requests to
    answers."""
    from tqdm import tqdm

    from mld.errors import MldError

    failures = 0
    with tqdm(total=len(jobs), desc="answers", unit="answer", disable=None) as bar:
        for start in range(0, len(jobs), batch_size):
            for job, answer in _answers(jobs[start : start + batch_size], serve):
                if isinstance(answer, MldError):
                    failures += _report(job.where, job.line, str(answer), outputs)
                else:
                    for note in outputs.write(answer, job.line, job.number)["notes"]:
                        bar.write(f"{job.where}: note: {note}", file=sys.stderr)
                    if answer.request.output == "text":
                        bar.write(f"{answer.request.name}: {answer.text}", file=sys.stdout)
                bar.update()
            outputs.save_index()
    return failures


def _answers(jobs: list[Job], serve: Callable[[list], list]) -> list[tuple]:
    """Jobs with their answers, or with the error; when one of them spoils the batch, each is served alone."""
    from mld.errors import MldError

    try:
        return list(zip(jobs, serve([job.request for job in jobs])))
    except MldError as error:
        if len(jobs) == 1:
            return [(jobs[0], error)]
        return [pair for job in jobs for pair in _answers([job], serve)]


def _together(task, pipeline, requests: list) -> list:
    from mld.evaluation.task import SequenceTask

    # One answer of many texts takes long: it has a bar of its own, below that of all answers.
    return task.answers(pipeline, requests, batch_size=len(requests), progress=isinstance(task, SequenceTask))


def _report(where: str, line: int, message: str, outputs) -> int:
    print(f"{where}: {message}", file=sys.stderr)
    outputs.failed(line, message)
    return 1


def _finish(outputs, failures: int) -> int:
    from mld.engine.cleaning import summary

    outputs.save_index()
    if told := summary(outputs.reports):
        print(f"{told} (--no-clean leaves them as they are)", file=sys.stderr)
    if outputs.overviews and outputs.items:
        print("drawing the overview", file=sys.stderr, flush=True)
    overviews = outputs.save_overviews()
    done = sum("error" not in entry for entry in outputs.entries)
    print(f"{done} done, {failures} failed; results: {outputs.folder}")
    for path in overviews:
        print(f"overview: {path}")
    return EXIT_SOME_FAILED if failures else EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))
