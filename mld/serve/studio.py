"""`Studio`: answers what the page asks, one request at a time, and turns every user mistake into a message."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from mld.engine.cleaning import cleaned, summary
from mld.engine.request import Answer
from mld.errors import MldError, RequestError, shown
from mld.models.contracts.tokens import TokenLayout
from mld.motion.motion import Motion
from mld.serve.conversation import DONE, FAILED, STOPPED, WAITING, WORKING, Conversation, Turn
from mld.serve.live import Lives
from mld.serve.marks import marks
from mld.serve.models import SPOKEN, Models
from mld.serve.page.form_input import Ask, checked, requests
from mld.serve.page.forms import LARGEST_RECEIVED, Form
from mld.serve.results import Results
from mld.serve.uploads import Given, open_upload
from mld.serve.visits import Visits
from mld.view.browser import ViewItem

QUEUE = 8  # requests that may wait, of all users together
LOOK = 0.4  # seconds between two looks at the progress
UNEXPECTED = "Something went wrong on the server; its log says what. Please try something else."
log = logging.getLogger(__name__)


class Stopped(Exception):
    """The user does not want the answer any more."""


class Studio:
    """forms: what can be asked, by task; those that no offered model answers are left out. clean: motions that are made
    are cleaned up, and the answer says what that changed. Files live in a temporary folder `work` that ends with the
    object; results in memory."""

    def __init__(self, models: Models, forms: Mapping[str, Form], clean: bool = True) -> None:
        self.models, self.results, self.clean = models, Results(), clean
        able = models.answers()
        self.forms = {name: form for name, form in forms.items() if form.shape in able}
        self._folder = tempfile.TemporaryDirectory(prefix="mld-ui-")
        self.work = Path(self._folder.name)
        self.uploads = self.work / "uploads"
        self.visits = Visits(self.results, self.uploads)
        self.lives = Lives(models, self.visits.shows)
        self.ending = contextlib.ExitStack()  # what else ends with the studio
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mld-ui")
        self._open: set[Turn] = set()
        self._lock = threading.Lock()

    @property
    def streams(self) -> bool:
        """Whether a model of the list makes motion for words, and so a live figure."""
        return SPOKEN in self.models.answers()

    def accept(self, session: Conversation, task: str, text: str | None, files: Sequence, seconds: float | None,
               seed: float | None, samples: float | None, model: str, awaited: str = "") -> Turn:  # fmt: skip
        """Add a turn to the session: one that waits for its answer, or that says what is wrong with the question.
        awaited: name of a file that was chosen for the question and has not arrived; none takes its place."""
        try:
            if awaited:
                raise RequestError(f"{shown(awaited)} has not arrived: it is on its way, or it is larger than "
                                   f"{LARGEST_RECEIVED} MB. Send again when its name is in the box.")
            ask = checked(self.forms, task, text, files, seconds, seed, samples, model)
        except MldError as error:
            turn = session.add(Turn((text or "")[:80]))
            turn.end(FAILED, str(error))
            return turn
        return self.enqueue(session, replace(ask, model=self.models.named(ask.model, task, ask.form.shape)))

    def enqueue(self, session: Conversation, ask: Ask) -> Turn:
        """Let an ask wait for its answer; where too many wait, the turn says so. Those who have left do not count."""
        turn = session.add(Turn(ask.text, ask, given=tuple(Path(files[0]).name for files in ask.files if files)))
        session.files.update(file for files in ask.files for file in files)
        self.visits.touch(session)
        with self._lock:
            for other in self._open:
                if other.state == WAITING and other.unwanted:
                    other.end(STOPPED, "Stopped: the page was closed.")
            self._open = {other for other in self._open if other.open and not other.unwanted}
            if len(self._open) > QUEUE:
                turn.end(FAILED, f"{len(self._open)} requests are waiting already; please try again in a moment.")
            else:
                self._open.add(turn)
        return turn

    def answer(self, session: Conversation) -> Iterator[Turn]:
        """Work on the turns that wait, one by one; yields again and again, so that who follows can leave. A turn that
        nobody follows any more is stopped after `PATIENCE`."""
        session.watcher = me = object()
        while (turn := session.next()) is not None:
            with self._lock:
                if turn.work is None:
                    turn.looked = time.monotonic()
                    turn.work = self._worker.submit(self._answer, session, turn)
            while turn.open and not turn.work.done() and session.watcher is me:
                turn.looked = time.monotonic()
                wait([turn.work], LOOK)
                yield turn
            if session.watcher is not me:
                return
            yield turn

    def close(self) -> None:
        for turn in self._open:
            turn.cancel()
        self._worker.shutdown(cancel_futures=True)
        self.lives.close()
        self.visits.close()
        self.ending.close()
        self._folder.cleanup()

    def _answer(self, session: Conversation, turn: Turn) -> None:
        if not turn.open:
            return
        turn.state = WORKING
        try:
            if turn.unwanted:
                raise Stopped
            self._make(session, turn)
        except Stopped:
            turn.end(STOPPED, "Stopped.")
        except MldError as error:
            turn.end(FAILED, str(error).replace(f"{self.work}/", ""))
        except Exception:  # the last line of defence: users get a sentence, the log the whole story
            log.exception("a request failed")
            turn.end(FAILED, UNEXPECTED)

    def _make(self, session: Conversation, turn: Turn) -> None:
        ask, began = turn.ask, time.monotonic()
        turn.step = "Reading the motion" if any(ask.files) else "Opening the model"
        given = self._given(session, ask)
        turn.given = tuple(f"{one.name} · {one.motion.duration:.1f} s" for one in given)
        turn.about = tuple(note for one in given for note in one.notes)
        turn.step = "Opening the model"
        pipeline = self.models.pipeline(ask.model)
        answers = self._run(pipeline, ask, given, turn)
        answers, told = self._cleaned(answers, pipeline.model.tokenizer.layout)
        items = _items(ask, answers, given, pipeline.model.tokenizer.layout)
        if items:
            self._keep(session, turn, _title(ask, given), items)
        turn.facts = _facts(ask, answers, time.monotonic() - began, told)
        turn.end(DONE, "\n".join(map(str, answers[0].captions)) or answers[0].text)

    def _keep(self, session: Conversation, turn: Turn, title: str, items: Sequence[ViewItem]) -> None:
        """Put a result among those kept; `Stopped` where nobody wants it any more, and nobody would let go of it."""
        with turn.keeping:
            if turn.stop.is_set():
                raise Stopped
            turn.key, turn.samples = self.results.put(title, items), len(items)
            session.results.add(turn.key)
            session.last, session.shown = [*session.last[-3:], items[0].motion], turn.key

    def _given(self, session: Conversation, ask: Ask) -> list[Given]:
        """The motions of an ask: its uploads, and in the place of missing ones the last of the session."""
        opened = [open_upload(files, self.work) if files else None for files in ask.files]
        missing = opened.count(None)
        if missing > len(session.last):
            raise RequestError("Please upload a motion first." if ask.form.clips == 1 else
                               "Please upload two motions first: how it begins and how it ends.")
        recent = iter(session.last[len(session.last) - missing :])
        return [given or Given(next(recent), "the last motion") for given in opened]

    def _cleaned(self, answers: Sequence[Answer], layout: TokenLayout) -> tuple[list[Answer], list[str]]:
        """Answers with their motions cleaned up, if that is wanted, and what is to be said about it."""
        found, reports, failures = [], [], []
        for answer in answers:
            if self.clean and answer.motion is not None:
                motion, report, failed = cleaned(answer, layout)
                answer = replace(answer, motion=motion)
                reports += [] if report is None else [report]
                failures.append(failed)
            found.append(answer)
        return found, list(filter(None, [summary(reports), *failures]))

    def _run(self, pipeline, ask: Ask, given: Sequence[Given], turn: Turn) -> list[Answer]:
        finished = steps = 0

        def on_step(count: int) -> None:
            nonlocal finished, steps
            finished, steps = finished + count, steps + 1
            turn.step = _step(ask, finished, steps)
            if turn.unwanted:
                raise Stopped

        on_step(0)
        return pipeline.run(requests(ask, [one.motion for one in given], pipeline), on_step=on_step)


def _step(ask: Ask, finished: int, steps: int) -> str:
    what = "the answer" if ask.form.makes == "text" else "the motion" if ask.samples == 1 else f"{ask.samples} motions"
    count = f" · {finished} finished" if ask.samples > 1 else ""
    return f"Writing {what} · step {steps}{count}"


def _title(ask: Ask, given: Sequence[Given]) -> str:
    """What the files and panes of a result are called."""
    names = " → ".join(one.name for one in given)
    return ask.text if ask.text and not (ask.form.clips and ask.form.makes == "text") else names


def _items(ask: Ask, answers: Sequence[Answer], given: Sequence[Given], layout: TokenLayout) -> list[ViewItem]:
    """What the stage shows: the motions that were made, or the one that was described."""
    if ask.form.makes == "text":
        return [_described(answers[0], given[0])] if given else []
    return [
        ViewItem(answer.motion, _title(ask, given), marks(answer, layout) or None,
                 f"seed {answer.request.seed}" if len(answers) > 1 else "")
        for answer in answers
    ]  # fmt: skip


def _described(answer: Answer, given: Given) -> ViewItem:
    """The motion that was described; what was said of its parts stands on the ruler under it."""
    if not answer.captions:
        return ViewItem(given.motion, answer.text or given.name)
    frames = [(round(one.start * given.motion.fps), round(one.stop * given.motion.fps)) for one in answer.captions]
    last = given.motion.num_frames
    spans = [(start, min(stop, last), one.text) for (start, stop), one in zip(frames, answer.captions) if start < last]
    return ViewItem(given.motion, given.name, spans)


def _facts(ask: Ask, answers: Sequence[Answer], seconds: float, told: Sequence[str]) -> str:
    motions: list[Motion] = [answer.motion for answer in answers if answer.motion is not None]
    lengths = sorted({f"{motion.duration:.1f}" for motion in motions}, key=float)
    spans = [f"{lengths[0]} to {lengths[-1]} s" if len(lengths) > 1 else f"{lengths[0]} s"] if lengths else []
    seeds = f"seed {ask.seed}" if ask.samples == 1 else f"seeds {ask.seed} to {ask.seed + ask.samples - 1}"
    notes = dict.fromkeys([note for answer in answers for note in answer.notes] + list(told))
    return " · ".join([*spans, seeds, ask.model, f"made in {seconds:.1f} s", *notes])
