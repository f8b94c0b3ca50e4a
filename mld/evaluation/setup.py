"""What the command `test` puts together: clips, protocol, evaluators, state; and what it writes."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mld.checkpoint import CONFIG, PROVENANCE, git_sha, resolve_folder, weights_hash
from mld.config import to_plain
from mld.data.sources.opening import build_source
from mld.engine.request import Request
from mld.errors import DataError, RequestError
from mld.evaluation import expected
from mld.evaluation.embedder import Embedder
from mld.evaluation.evaluators import open_evaluators
from mld.evaluation.protocol import ClipSet, Protocol, usable
from mld.evaluation.report import latex, markdown
from mld.evaluation.rows import REAL
from mld.evaluation.run import Evaluation
from mld.evaluation.state import RunState
from mld.evaluation.task import ScoreOptions, Setting, Task
from mld.example import CaptionedClip, Text
from mld.files import file_hash, write_json, write_text
from mld.metrics import ranks
from mld.metrics.captions import lemmatiser_name, metricverse
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.motion.representations.registry import get_representation
from mld.version import __version__

if TYPE_CHECKING:
    from mld.data.config import DataConfig

NAMED = 5  # clips in a line about what is left out


def open_clips(
    config: DataConfig, options, engine, able: Sequence[Task]
) -> tuple[ClipSet, dict[str, Any], Protocol]:
    """The clips that count, what the results file says about them, and the protocol. engine: None where no model is
    tested; clips that it cannot be asked about in one of the tasks `able` are left out."""
    source = build_source(config, options.split)
    say(source.report())
    protocol = Protocol(
        options.mode, options.captions, options.crop, config.shortest(), config.max_frames, options.length,
        options.matches or "item", options.seed,
    )  # fmt: skip
    count = min(len(source), options.limit or len(source))
    clips = usable([source[index] for index in range(count)], protocol)
    if engine is not None and source.representation == _reads(engine):
        clips = _served(clips, engine, able)
    for reason, names in clips.left_out.items():
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        say(f"left out: {len(names)} clips {reason} ({shown})")
    if not len(clips):
        raise DataError(f"split '{options.split}' has no usable clip; see data.min_frames, data.max_frames")
    if options.matches is None and clips.labelled:
        protocol = replace(protocol, matches="label")
    return clips, {
        "name": source.name, "split": options.split, "clips": len(clips), "hash": clips.data_hash,
        "captions_hash": clips.captions_hash, "config": to_plain(config), "limited": count < len(source),
        "source": config.source, "representation": source.representation, "fps": source.fps,
        "left_out": {reason: len(names) for reason, names in clips.left_out.items()},
        "problems": [str(problem) for problem in source.problems],
    }, protocol  # fmt: skip


def prepare(
    options, engine, model: str | None, device: str, clips: ClipSet, data: dict[str, Any], protocol: Protocol
) -> tuple[Evaluation, dict[str, Any]]:
    """The evaluation, and what the results file says about everything it depends on. model: folder of the engine's."""
    representation = get_representation(_representation(engine, data))
    found, reason = open_evaluators(options.evaluator, data["representation"], data["fps"])
    if found and reason:
        say(f"left out: {reason}")
    embedders = [_embedder(options, each, clips, device) for each in found]
    tested = _model(model) if model is not None else None
    identity = {
        "protocol": f"{protocol.identity('all')}/matches={protocol.matches}", "seed": protocol.seed,
        "data": data["hash"], "captions": data["captions_hash"],
        "model": tested and f"{tested['weights_hash']}/{tested['config_hash']}",
        "evaluators": {each.label: each.name for each in embedders}, "bert": str(options.bert or ""),
        "lemmatiser": lemmatiser_name(), "version": __version__,
        "caption_backend": "nlg-metricverse" if metricverse.find() else "built-in",
    }  # fmt: skip
    folder = _folder(options, identity, tested)
    evaluation = Evaluation(
        engine, representation, _unit(engine), clips, protocol, embedders,
        RunState(folder, identity, options.restart), reason,
        options.reps, options.multimodality, options.batch_size, ScoreOptions(options.bert), sys.stderr.isatty(),
    )  # fmt: skip
    about = {
        "identity": identity, "protocol": {"id": protocol.identity("all"), **vars(protocol)}, "data": data,
        "model": tested,
        "evaluators": {
            each.label: {"name": embedder.name, "fingerprint": embedder.fingerprint, "metric": embedder.metric,
                         "folder": str(each.folder), "family": each.network.family}
            for each, embedder in zip(found, embedders)
        },
        "seeds": {"seed": options.seed, "replications": options.reps}, "mld_version": __version__,
        "git_sha": git_sha(), "folder": str(folder),
    }  # fmt: skip
    return evaluation, about


def _representation(engine, data: dict[str, Any]) -> str:
    """That of the clips; `DataError` when the model reads another one."""
    if engine is None:
        return data["representation"]
    reads = _reads(engine)
    if reads != data["representation"]:
        raise DataError(f"the model reads '{reads}', the clips are '{data['representation']}'; set data.representation")
    return reads


def _reads(engine) -> str:
    """The representation of a pipeline's or a tokenizer's features."""
    return engine.representation if isinstance(engine, MotionTokenizer) else engine.model.representation


def _unit(engine) -> int:
    """Frames to whose multiples a pipeline or a tokenizer cuts clips."""
    return (engine if isinstance(engine, MotionTokenizer) else engine.model.tokenizer).layout.unit if engine else 1


def _served(clips: ClipSet, engine, able: Sequence[Task]) -> ClipSet:
    """Without the clips that the model cannot be asked about in one of its tasks, with any of their captions."""
    kept, left_out = [], {reason: list(names) for reason, names in clips.left_out.items()}
    for number, clip in clips.clips:
        try:
            for task, request in _questions(able, clip, Setting(get_representation(_reads(engine)), _unit(engine))):
                task.check(engine, request)
        except RequestError as error:
            left_out.setdefault(f"that the model cannot serve: {error}", []).append(clip.name)
        else:
            kept.append((number, clip))
    return ClipSet(tuple(kept), left_out)


def _questions(able: Sequence[Task], clip: CaptionedClip, setting: Setting) -> Iterator[tuple[Task, Request]]:
    for task in able:
        first = task.request(clip, setting)
        yield task, first
        if any(isinstance(part, Text) for part in first.prompt):
            others = (replace(setting, seed=i) for i in range(1, len(clip.captions)))
            yield from ((task, task.request(clip, other)) for other in others)


def _embedder(options, found, clips: ClipSet, device: str) -> Embedder:
    network = found.network.to(device)
    return Embedder(network, found.label, clips, options.mode, Path(options.cache), found.origin, found.folder)


def _model(path: str) -> dict[str, Any]:
    folder = resolve_folder(path)
    origin = folder / PROVENANCE
    name = folder.resolve().parent.name if folder.resolve().name == "model" else folder.resolve().name
    return {"name": name, "folder": str(folder), "weights_hash": weights_hash(folder)[:16],
            "config_hash": file_hash(folder / CONFIG)[:16],
            "provenance_hash": file_hash(origin)[:16] if origin.is_file() else None}  # fmt: skip


def check_real_row(options, evaluation: Evaluation, results: dict[str, Any]) -> None:
    """Compare the real row with what the evaluators are known to give, or record it as that."""
    for embedder in evaluation.embedders:
        prefix = f"{embedder.label}/"
        row = {n.removeprefix(prefix): e for n, e in results["rows"][REAL].items() if n.startswith(prefix)}
        protocol, data = evaluation.protocol.identity(REAL, embedder.name), results["data"]
        if options.record_expected and ranks.is_first():
            say(f"{expected.record(embedder.folder, data['name'], row, protocol, data['hash'])} written")
        known = expected.find(embedder.folder, embedder.evaluator.family, embedder.origin, data, protocol)
        check = expected.check(row, known)
        results["checks"][embedder.label] = {"status": check.status, "lines": list(check.lines)}
        if check.status == "off" and ranks.is_first():
            print(expected.banner(embedder.label, check), file=sys.stderr)


def earlier_tasks(results: dict[str, Any]) -> dict[str, Any]:
    """Tasks that an earlier command of the same evaluation has written, so that the file keeps them."""
    file = Path(results["folder"]) / "results.json"
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    same = all(there.get(key) == results[key] for key in ("identity", "seeds"))
    return there["tasks"] if same else {}


def write(results: dict[str, Any]) -> None:
    """The three result files, from one process."""
    if not ranks.is_first():
        return
    place = Path(results["folder"])
    write_json(place / "results.json", results)
    write_text(place / "results.md", markdown(results))
    write_text(place / "results.tex", latex(results))


def _folder(options, identity: dict[str, Any], model: dict[str, Any] | None) -> Path:
    """`--out`, or a folder of its own for each evaluation, so that none meets another."""
    if options.out:
        return Path(options.out)
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return Path("out/test") / f"{model['name'] if model else REAL}-{options.split}-{key}"


def say(text: str) -> None:
    """Print a line, from one process."""
    if ranks.is_first():
        print(text)
