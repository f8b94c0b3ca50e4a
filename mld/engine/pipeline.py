"""`Pipeline`: a model ready to answer requests. `mld.load(folder)` gives one.

Each request gets its time line, its motions are encoded, and requests of one kind and similar length are answered
together, token after token or all at once. Answers come in the order of the requests and do not depend on how they
were grouped.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor

from mld.engine.body import given_frames, on_one_body
from mld.engine.checks import frames_in, in_words
from mld.engine.given import around, ends, given
from mld.engine.lengths import length_note, timed
from mld.engine.options import listed, sampled_by, set_sampling, spread
from mld.engine.request import Answer, Request, named
from mld.engine.sampling import autoregressive, parallel
from mld.engine.sampling.job import Done, Job
from mld.engine.texts import Prompt, TextEncoders
from mld.engine.timeline import Timeline, make_timeline
from mld.engine.windows import Asked, asked
from mld.engine.worlds import in_one_world
from mld.errors import CheckpointError, MldError, RequestError, TooLong, shown
from mld.example import Clip, Text
from mld.models.contracts.generator import MotionGenerator, Shape
from mld.models.contracts.network import Network
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation

if TYPE_CHECKING:
    from mld.engine.streaming.session import EndPolicy
    from mld.engine.streaming.stream import Stream
    from mld.engine.streaming.streamer import Limits, Streamer
    from mld.engine.streaming.windows import WindowSettings
    from mld.models.quantization import Rounding


class Noted(UserWarning):
    """What an answer has to say about itself; see `Answer.notes`."""


class Pipeline:
    """model: a `MotionGenerator` with weights; it is put into eval mode while it answers. bones: "model", every motion
    has the body of the model's representation (or of the motion it goes on from) and rotations; "clip", joints are as
    the network has them, each clip with bones of its own, as evaluation measures them. text_encoder: where it is, as of
    `mld.engine.texts`."""

    def __init__(
        self, model: MotionGenerator, bones: Literal["model", "clip"] = "model", text_encoder: str = "keep"
    ) -> None:
        self.model, self.bones = model, bones
        self.texts = TextEncoders(model, text_encoder)
        self.provenance: dict[str, Any] = {}
        self.rounding: Rounding | None = None
        self.representation = get_representation(model.representation)

    @classmethod
    def load(
        cls, path_or_hub_id: str | Path, device: str = "cpu", weights: str = "float32",
        sampling: Mapping[str, Any] | None = None, text_encoder: str = "keep", prompts: Sequence[Prompt] = (),
    ) -> Pipeline:  # fmt: skip
        """Open a model folder or hub id; `CheckpointError` when it is none, or holds only a tokenizer.

        weights: "float16", "bfloat16" and "int8" round layers while they are read, which takes less memory and is
        faster on a CPU (`mld.models.quantization`). sampling: settings as of `generate`, from now on. text_encoder:
        "keep", "cpu" or "unload" (`mld.engine.texts`). prompts: their words are read before the weights are, so that a
        text encoder that is unloaded and a model are never in memory together."""
        from mld.checkpoint import open_model, read_provenance, resolve_folder

        folder, made = resolve_folder(path_or_hub_id), []

        def before(network: Network) -> None:
            if not isinstance(network, MotionGenerator):
                held = f"{path_or_hub_id} holds a {network.kind}"
                raise CheckpointError(f"{held}; a model with a language part is needed")
            set_sampling(network, sampling or {})
            made.append(cls(network, text_encoder=text_encoder))
            made[0].texts.read_once(prompts, device)

        _, rounding = open_model(folder, device, weights=weights, before=before)
        made[0].rounding, made[0].provenance = rounding, read_provenance(folder)
        return made[0]

    from_pretrained = load  # the name that users of Hugging Face look for

    @overload
    def generate(
        self, text: str, seconds: float | None = None, seed: int = 0, *, batch_size: int = ..., progress: bool = ...,
        rewrite: str | Path | None = ..., **sampling: Any,
    ) -> Motion: ...  # fmt: skip

    @overload
    def generate(
        self, text: Sequence[str], seconds: float | Sequence[float | None] | None = None, seed: int | Sequence[int] = 0,
        *, batch_size: int = ..., progress: bool = ..., rewrite: str | Path | None = ..., **sampling: Any,
    ) -> list[Motion]: ...  # fmt: skip

    def generate(
        self, text: str | Sequence[str], seconds: float | Sequence[float | None] | None = None,
        seed: int | Sequence[int] = 0, *, batch_size: int = 32, progress: bool = False,
        rewrite: str | Path | None = None, **sampling: Any,
    ) -> Motion | list[Motion]:  # fmt: skip
        """Text to motion; the model decides the length when `seconds` is None. Of a list of texts a list of motions,
        made together; seconds and seed are then one for all, or a list of the same length.

        rewrite: folder of a causal language model that rewrites the texts first, as it tells by warnings. sampling:
        settings of sampling for this call, as the model's config names them (temperature, top_p, guidance_scale ...);
        `RequestError` for one that it does not have, and for what is no text."""
        texts = [text] if isinstance(text, str) else listed(text, "text", str)
        texts = texts if rewrite is None else self._rewritten(texts, rewrite)
        wanted, seeds = spread(seconds, len(texts), "seconds"), spread(seed, len(texts), "seed")
        requests = [
            Request((Text(one),), "motion", self.frames(length), start)
            for one, length, start in zip(texts, wanted, seeds, strict=True)
        ]
        with sampled_by(self.model, sampling):
            answers = self.run(requests, batch_size, progress)
        for answer in answers:
            _said(answer)
        motions = [answer.motion for answer in answers]
        return motions[0] if isinstance(text, str) else motions

    def _rewritten(self, texts: Sequence[str], folder: str | Path) -> list[str]:
        from mld.engine.rewriting import rewrite

        device = str(self.model.device)
        found = rewrite(texts, folder, device, on_text=lambda one: warnings.warn(str(one), Noted, stacklevel=5))
        return [one.said for one in found]

    def describe(self, motion: Motion, seed: int = 0) -> str:
        """Motion to text. A motion longer than the model reads is described part by part, each with its seconds."""
        return self._one(Request((self.clip(motion),), "text", seed=seed)).text

    def predict(self, head: Motion, seconds: float | None = None, seed: int = 0) -> Motion:
        """`head`, unchanged, and how it may go on; `seconds` is the length of the whole.

        Of a head that is longer than the model reads, the last seconds are read; so at both ends of an in-between."""
        return self._one(Request((self.clip(head),), "motion", self.frames(seconds), seed)).motion

    def inbetween(self, head: Motion, tail: Motion, seconds: float | None = None, seed: int = 0) -> Motion:
        """`head` and `tail`, unchanged, with what may lie between; `seconds` is the length of the whole.

        The two share one world. Two motions that both start at the origin do not: then the tail is moved to where the
        head was going."""
        return self._one(Request(self.ends(head, tail, seconds), "motion", seed=seed)).motion

    def edit(self, motion: Motion, text: str, start: float, stop: float, seed: int = 0) -> Motion:
        """The motion with what lies from `start` to `stop`, in seconds, made anew for a text; all other frames stay."""
        whole, words = self.clip(motion), (Text(text),) if text else ()
        parts, note = around(whole, start, stop, self.representation.fps)
        notes = (note,) if note else ()
        return self._one(Request((*words, *parts), "motion", len(whole.joints), seed, notes=notes)).motion

    def stream(
        self, text: str, seconds: float | None = None, seed: int = 0, *, history: Motion | None = None,
        end: EndPolicy = "continue", keep: bool = True,
    ) -> Stream:  # fmt: skip
        """A motion that goes on while words change (`Stream.say`), in chunks. Models that make whole motions make it
        in windows (`Stream.native` is False then); `RequestError` where the model makes no motion for words.

        seconds: it ends after so many, None for never. history: a motion that it goes on from. end: what happens where
        the model ends its motion: it goes on, it stands still ("hold"), or the stream ends ("stop"). keep: what was
        made stays for `Stream.motion`."""
        from mld.engine.streaming.stream import Stream

        given, frames = None if history is None else self.clip(history), self.frames(seconds)
        return Stream(self.batcher, self.batcher.open(text, seed, given, end), frames, keep)

    def resume(self, path: str | Path, seconds: float | None = None, keep: bool = True) -> Stream:
        """Go on with a stream that was saved (`Stream.save`), to the bit. seconds: of the whole stream."""
        from mld.engine.streaming.stream import Stream

        return Stream.resume(self.batcher, path, most_frames=self.frames(seconds), keep=keep)

    @cached_property
    def batcher(self) -> Streamer:
        """The place where all streams of the model are made together."""
        return self.streamer()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "batcher"}  # streams stay here

    def streamer(self, limits: Limits | None = None, windows: WindowSettings | None = None) -> Streamer:
        """Another such place. windows: for models that make whole motions, see `WindowSettings`."""
        from mld.engine.streaming.batcher import Batcher
        from mld.engine.streaming.streamer import UNBOUNDED
        from mld.engine.streaming.windows import USUAL, Windows

        if self.model.streams():
            return Batcher(self.model, self.representation, limits or UNBOUNDED)
        raw = Pipeline(self.model, bones="clip", text_encoder=self.texts.streaming)
        return Windows(self.model, self.representation, raw, limits or UNBOUNDED, windows or USUAL)

    def ends(self, head: Motion, tail: Motion, seconds: float | None = None) -> tuple[Clip, Clip]:
        """Two motions as the ends of a whole of `seconds`; see `inbetween`."""
        return ends(self.clip(head), self.clip(tail), self.frames(seconds), self.representation.fps)

    def clip(self, motion: Motion) -> Clip:
        """A motion as part of a prompt, at the model's frame rate; see `mld.engine.given.given`."""
        return given(motion, self.representation)

    def answer(self, text: str, seed: int = 0) -> str:
        """Text to text: what the model says to a question or an instruction."""
        (question,) = listed([text], "text", str)
        return self._one(Request((Text(question, verbatim=True),), "text", seed=seed)).text

    def push_to_hub(
        self, repo_id: str, *, licence: str, private: bool = False, dtype: str = "float16", about: str = "",
        credit: str = "",
    ) -> str:  # fmt: skip
        """Put the model onto the Hugging Face hub, with a model card; its address. `from_pretrained(repo_id)` opens it.

        licence: under which terms others may use the weights; credit: a sentence that they have to repeat; about: what
        the model knows. dtype: of the weights there. `CheckpointError` where the hub refuses (`hf auth login`)."""
        from mld.hub import push_model

        return push_model(self.model, repo_id, licence, private, dtype, self.provenance, credit, about)

    def check(self, request: Request) -> None:
        """`RequestError` when the request cannot be served. Nothing is encoded, so this is quick."""
        for part in self._asked(request).parts:
            self._check(part)

    def _asked(self, request: Request) -> Asked:
        request = timed(request, self.model, self.representation.fps, self.most_frames)
        return asked(request, self._check, self.model.tokenizer.layout.shortest, self.representation)

    def _check(self, request: Request) -> None:
        """As `check`, for a request whose motions the model reads whole; `TooLong` where that is what is wrong."""
        line, layout = self._timeline(request), self.model.tokenizer.layout
        self._job(request, line, [layout.blank(kept) if tokens is None else tokens for tokens, kept in _sizes(line)])

    @torch.no_grad()
    def run(
        self, requests: Sequence[Request], batch_size: int = 32, progress: bool = False,
        on_step: Callable[[int], None] | None = None,
    ) -> list[Answer]:  # fmt: skip
        """Answers in the order of the requests. progress shows a bar. on_step is told after every step how many more
        answers are finished; what it raises ends the work. A request that cannot be served raises `RequestError`,
        which names it, before any work is done."""
        from tqdm import tqdm

        if not isinstance(batch_size, int) or batch_size < 1:
            raise RequestError(f"batch_size {batch_size!r:.40}: a whole number from 1 on is needed")
        requests = listed(requests, "requests", Request) if requests else []
        was_training = self.model.training
        self.model.eval()
        try:
            with contextlib.suppress(MldError):  # it comes again, with the name of its request
                self.texts.read([request.prompt for request in requests], self.model.device)
            wholes = [named(request, self._asked, request) for request in requests]
            jobs = self._prepare([part for whole in wholes for part in whole.parts], batch_size)
            self.texts.done()
            answers: dict[int, Answer] = {}
            with tqdm(total=len(jobs), unit="answer", disable=not progress) as bar:

                def done(count: int) -> None:
                    bar.update(count)
                    if on_step is not None:
                        on_step(count)

                for output, places in _batches(jobs, batch_size):
                    answers.update(zip(places, self._write(output, [jobs[place] for place in places], done)))
        finally:
            self.model.train(was_training)
        made = iter([answers[place] for place in range(len(jobs))])
        joined = [
            whole.joined([next(made) for _ in whole.parts], self.model.keeps_given, self.representation)
            for whole in wholes
        ]
        return [self._noted(self.embodied(answer), request) for answer, request in zip(joined, requests, strict=True)]

    def _noted(self, answer: Answer, request: Request) -> Answer:
        """The answer with notes: what the model cannot read of what is asked, and a length that was read."""
        words = " ".join(part.text for part in answer.request.prompt if isinstance(part, Text))
        unknown, share = self.model.unknown_words(words)
        note = f"the model never saw {share} % of the letters of the text, {shown(unknown, 24)}, and cannot follow them"
        length = length_note(request, self.model, self.representation.fps, self.most_frames)
        notes = (*request.notes, note if unknown else "", self.model.left_out(answer.request.prompt), length)
        return replace(answer, notes=(*answer.notes, *filter(None, notes)))

    def embodied(self, answer: Answer, keeps_given: bool = True) -> Answer:
        """The answer with its motion on one body, where `bones` says so; its features and tokens stay. keeps_given: the
        frames of its prompt are in it as they are."""
        if answer.motion is None or self.bones == "clip":
            return answer
        kept = given_frames(answer, self.model.tokenizer.layout)
        if not (keeps_given and self.model.keeps_given):
            kept = torch.zeros_like(kept)
        return replace(answer, motion=on_one_body(answer.motion, kept))

    def _one(self, request: Request) -> Answer:
        return _said(self.run([request])[0], above=4)

    def frames(self, seconds: float | None) -> int | None:
        """Frames of the model in so many seconds; None for None. `RequestError` where that is no
        length."""
        return None if seconds is None else frames_in(seconds, self.representation.fps)

    @property
    def most_frames(self) -> int:
        """Frames of the longest motion that the model makes at once; 0 where there is no limit."""
        model, layout = self.model, self.model.tokenizer.layout
        return layout.longest if model.at_once() else layout.frames(model.most_tokens() or 0)

    @property
    def most_seconds(self) -> float:
        """The same in seconds."""
        return self.most_frames / self.representation.fps

    def _write(self, output: str, jobs: Sequence[Job], done: Done) -> list[Answer]:
        if output == "text":
            return autoregressive.write_texts(self.model, jobs, done)
        way = parallel if self.model.at_once() else autoregressive
        return way.write_motions(self.model, self.representation, jobs, done)

    def _timeline(self, request: Request) -> Timeline:
        """`RequestError` for what cannot be served by any model, or not by this one."""
        model, layout = self.model, self.model.tokenizer.layout
        line = make_timeline(request, layout, self.representation, model.at_once(), model.keeps_given)
        shape = Shape.of(request.prompt, request.output)
        if shape not in model.answers:
            able = "; ".join(in_words(known) for known in sorted(model.answers))
            raise RequestError(f"this model does not answer with {in_words(shape)}; it does with: {able}")
        if request.output == "motion" and line.num_frames is not None:
            most = self.most_frames
            made = line.made if model.at_once() else layout.frames(line.count)
            if 0 < most < made:
                total = most + (line.before if model.at_once() else 0)
                raise TooLong(
                    f"{line.num_frames} frames are wanted, this model makes at most about {total} at once"
                )
        return line

    def _prepare(self, requests: Sequence[Request], batch_size: int) -> list[Job]:
        lines = [in_one_world(named(request, self._timeline, request), self.representation) for request in requests]
        tokens = iter(self._encode([clip for line in lines for clip in line.clips], batch_size))
        return [
            named(request, self._job, request, line, [next(tokens) for _ in line.clips])
            for request, line in zip(requests, lines)
        ]

    def _job(self, request: Request, line: Timeline, tokens: Sequence[Tensor]) -> Job:
        """The request with its prompt. tokens: of the time line's clips. `RequestError` for a prompt that is too
        long."""
        encoded = iter(tokens)
        parts = [replace(part, tokens=next(encoded)) if isinstance(part, Clip) else part for part in line.prompt]
        prompt = self.model.prompt(parts, request.output, line.num_frames)
        longest = self.model.longest_prompt(request.output)
        if longest is not None and len(prompt) > longest:
            raise TooLong(f"the prompt has {len(prompt)} tokens, this model reads at most {longest}")
        return Job(request, line, prompt, tuple(tokens))

    def _encode(self, clips: Sequence[Clip], batch_size: int) -> list[Tensor]:
        """Tokens of every clip, clips of similar length together."""
        order = sorted(range(len(clips)), key=lambda i: 0 if clips[i].features is None else len(clips[i].features))
        found: dict[int, Tensor] = {}
        for first in range(0, len(order), batch_size):
            places = order[first : first + batch_size]
            found.update(zip(places, self.model.tokenize([clips[place] for place in places])))
        return [found[place] for place in range(len(clips))]


def _said(answer: Answer, above: int = 3) -> Answer:
    """The answer, its notes said as warnings. above: calls between here and who asked."""
    for note in answer.notes:
        warnings.warn(note, Noted, stacklevel=above)
    return answer


def _sizes(line: Timeline) -> list[tuple[Tensor | None, int]]:
    """Tokens of the clips that have some, and frames of the others."""
    return [(clip.tokens, 0 if clip.features is None else len(clip.features)) for clip in line.clips]


def _batches(jobs: Sequence[Job], size: int) -> Iterator[tuple[str, list[int]]]:
    """Outputs and places of jobs that are served together: similar lengths of answer and prompt."""
    for output in ("motion", "text"):
        places = [place for place, job in enumerate(jobs) if job.request.output == output]
        places.sort(key=lambda place: (_size(jobs[place]), len(jobs[place].prompt)))
        yield from ((output, places[first : first + size]) for first in range(0, len(places), size))


def _size(job: Job) -> int:
    if job.request.output == "text":
        return 0
    line = job.timeline
    return (line.count or 0) if not line.made else line.made
