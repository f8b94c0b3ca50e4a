"""Answers requests of programs: which model, the motions that are given, and answers as JSON or files.

No path comes from a client: models are named by the list, given files get a name of ours in a folder of their own that
ends with the request, and what is made goes from there into memory.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mld.engine.request import Answer
from mld.errors import RequestError, nearest, shown
from mld.motion.motion import Motion
from mld.serve.api.bodies import Describe, Generate
from mld.serve.api.settings import LARGEST_FILE
from mld.serve.models import SPOKEN, STREAM, Models
from mld.serve.page.form_input import checked, requests
from mld.serve.page.forms import Form
from mld.serve.uploads import open_upload

FILES = ("npz", "bvh", "glb", "gltf", "csv", "npy")  # beside json
NAMED = ("bvh", "glb", "gltf", "csv")  # with joint names of a choice
NAMES = ("own", "mixamo", "unreal")
TAKEN = ("json", "npy", "npz", "csv", "bvh", "glb", "gltf", "vrm", "vrma")  # each a file that needs no other
TEXTS = ("json", "csv", "bvh", "gltf")
TYPES = {"glb": "model/gltf-binary", "gltf": "model/gltf+json", "csv": "text/csv", "bvh": "text/plain",
         "zip": "application/zip"}  # fmt: skip
Check = Callable[..., None]


@dataclass(frozen=True)
class Made:
    """content of a kind, under a name; about: what is told beside it."""

    content: bytes
    kind: str
    name: str
    about: Mapping[str, str]


class Service:
    """forms: what can be asked, by task."""

    def __init__(self, models: Models, forms: Mapping[str, Form]) -> None:
        self.models, self.forms = models, forms

    def list(self) -> list[dict[str, Any]]:
        """The models, and what each can be asked."""
        found = []
        for name in self.models.names:
            about = self.models.about(name)
            answers = about.pop("answers")
            able = [task for task, form in self.forms.items() if form.shape in answers]
            found.append({**about, "tasks": able, "best_for": [t for t in able if self.models.better.get(t) == name]})
        return found

    def named(self, name: Any, task: str) -> str:
        """The model that is meant: of the list alone; "" means the one that is best, for a stream one that makes such
        motion itself, where there is one."""
        shape = SPOKEN if task == STREAM else self.forms[task].shape
        if name in (None, ""):
            return self.models.named("", task, shape)
        if not isinstance(name, str) or name not in self.models.names:
            raise RequestError(f"there is no model {shown(name)}; {nearest(name, self.models.names)}")
        if task == STREAM and not self.models.about(name)["streams"]:
            raise RequestError(f"the model '{name}' makes no motion from words")
        return name

    def given(self, motion: Any) -> Motion:
        """The motion that a client sent; `RequestError` for what is none."""
        if not isinstance(motion, dict):
            raise RequestError("a motion is an object: {\"fps\", \"joints\"}, or a file {\"format\", \"content\"}")
        kind, content = _file(motion)
        if len(content) > LARGEST_FILE:
            raise RequestError(f"the motion has {len(content) / 1e6:.0f} MB; up to {LARGEST_FILE / 1e6:.0f} are taken")
        with tempfile.TemporaryDirectory(prefix="mld-api-") as folder:
            path = Path(folder) / f"motion.{kind}"
            path.write_bytes(content)
            return open_upload([str(path)], Path(folder)).motion

    def generate(self, body: Generate, check: Check) -> Made:
        """The answer to a request. check: is called now and then, and may raise."""
        if body.format not in ("json", *FILES):
            raise RequestError(f"format {shown(body.format)} is not known; {nearest(body.format, ('json', *FILES))}")
        if body.names not in NAMES:
            raise RequestError(f"names {shown(body.names)} are not known; {nearest(body.names, NAMES)}")
        task = body.task or self._task("motion", len(body.motions))
        began = time.monotonic()
        answers, model = self._answers(task, body.text, body.motions, body.seconds, body.seed, body.samples, body.model,
                                       check)  # fmt: skip
        notes = list(dict.fromkeys(note for answer in answers for note in answer.notes))
        about = {"model": model, "task": task, "took": round(time.monotonic() - began, 3), "notes": notes}
        if body.format == "json":
            return Made(_document(answers, about), "json", "answer.json", {})
        if answers[0].motion is None:
            raise RequestError(f"the task '{task}' answers in words, which have no format {body.format}; leave it out")
        told = {"X-Mld-Model": model, "X-Mld-Seeds": ",".join(str(answer.request.seed) for answer in answers)}
        return _files(answers, body, told)

    def describe(self, body: Describe, check: Check) -> dict[str, Any]:
        """What a motion shows, in words."""
        answers, model = self._answers(self._task("text", 1), body.text, [body.motion], None, body.seed, 1, body.model,
                                       check)  # fmt: skip
        captions = [{"start": one.start, "stop": one.stop, "text": one.text} for one in answers[0].captions]
        return {"text": answers[0].text, "captions": captions, "model": model, "notes": list(answers[0].notes)}

    def _answers(
        self, task: str, text: str, motions: Sequence[Any], seconds: float | None, seed: int, samples: int, model: str,
        check: Check,
    ) -> tuple[list[Answer], str]:  # fmt: skip
        ask = checked(self.forms, task, text, (), seconds, seed, samples, model)
        ask = replace(ask, model=self.named(model, task))
        if len(motions) != ask.form.clips:
            raise RequestError(f"the task '{task}' takes {ask.form.clips} motions, {len(motions)} are given")
        given = [self.given(motion) for motion in motions]
        check()
        pipeline = self.models.pipeline(ask.model)
        return pipeline.run(requests(ask, given, pipeline), on_step=check), ask.model

    def _task(self, output: str, clips: int) -> str:
        """The task for so many motions."""
        for name, form in self.forms.items():
            if form.makes == output and form.clips == clips:
                return name
        raise RequestError(f"no model here answers with {output} to {clips} motions; /v1/models lists what they do")


def _file(motion: dict[str, Any]) -> tuple[str, bytes]:
    """(kind, content) of a motion that was sent as a file or as numbers."""
    if "content" not in motion and "format" not in motion:
        document = {"format": "mld-motion", "version": 1, "skeleton": "smpl22", **motion}
        if document["skeleton"] not in ("smpl22", "kit21"):
            raise RequestError(f"skeleton {shown(document['skeleton'])} is not known; known: smpl22, kit21")
        return "json", json.dumps(document).encode()
    kind, content = motion.get("format"), motion.get("content")
    if not isinstance(kind, str) or kind.lower() not in TAKEN:
        raise RequestError(f"format {shown(kind)} of a given motion is not known; known: {', '.join(TAKEN)}")
    if not isinstance(content, str):
        raise RequestError("content: the text of the file, or base64 of a binary one")
    kind = kind.lower()
    if kind in TEXTS and not re.fullmatch(r"[A-Za-z0-9+/=\s]+", content[:4000]):
        return kind, content.encode("utf-8", "replace")
    try:
        return kind, base64.b64decode(content, validate=False)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"content: not base64 of a {kind} file") from error


def _document(answers: Sequence[Answer], about: Mapping[str, Any]) -> bytes:
    """Answers as JSON: motions in the format of `.json` files, each with its seed."""
    made = []
    for answer in answers:
        entry: dict[str, Any] = {"seed": answer.request.seed, "complete": answer.complete}
        if answer.text:
            entry["text"] = answer.text
        if answer.motion is not None:
            entry["motion"] = json.loads(_saved(answer.motion, "json"))
        made.append(entry)
    return json.dumps({**about, "answers": made}, separators=(",", ":"), ensure_ascii=False).encode()


def _files(answers: Sequence[Answer], body: Generate, about: Mapping[str, str]) -> Made:
    """One file, or several in a zip file."""
    options = {"names": body.names} if body.format in NAMED else {}
    files = {f"motion_{answer.request.seed}.{body.format}": _saved(answer.motion, body.format, **options)
             for answer in answers}  # fmt: skip
    if len(files) == 1:
        ((name, content),) = files.items()
        return Made(content, TYPES.get(body.format, "application/octet-stream"), name, about)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Made(packed.getvalue(), TYPES["zip"], f"motions_{body.format}.zip", about)


def _saved(motion: Motion, kind: str, **options: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="mld-api-") as folder:
        return motion.save(Path(folder) / f"motion.{kind}", **options).read_bytes()


