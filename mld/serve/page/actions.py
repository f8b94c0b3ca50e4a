"""What happens when something on the page is used: functions from values of components to updates of components."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mld.errors import MldError
from mld.models.contracts.generator import Shape
from mld.motion.formats import readable_suffixes
from mld.motion.motion import Motion
from mld.serve.conversation import Conversation
from mld.serve.models import SPOKEN, STREAM
from mld.serve.page import chat, live
from mld.serve.page import viewer as stage
from mld.serve.page.forms import HIGHEST_SEED
from mld.serve.page.speech import Listener
from mld.serve.studio import Studio
from mld.serve.uploads import BESIDE
from mld.view.browser import ViewItem

WELCOME, GREETING = "wave", "Hello"
LIVE = "live"  # the tab that is no task: words are said to a figure that moves


class Actions:
    """gr: gradio, opened by the command. clips: a folder of motion files to try. listener: for spoken requests."""

    def __init__(self, gr, studio: Studio, clips: Path | None, listener: Listener | None) -> None:
        self.gr, self.studio, self.listener = gr, studio, listener
        files = sorted(clips.iterdir()) if clips is not None and clips.is_dir() else []
        self.suffixes = list(dict.fromkeys((*readable_suffixes(), *BESIDE)))
        self.clips = {file.stem.replace("_", " "): str(file) for file in files if file.suffix in self.suffixes}
        self.welcome = self._welcome()

    # what is seen

    def arrive(self, name: str, begun: Conversation, tab: str) -> tuple:
        """A page was opened, or loaded again: its conversation, and what it shows. begun: what the page has until then,
        in which a person who is quick may have asked something."""
        session = self.studio.visits.arrive(name or "", tab, begun)
        return session, session.name, self.history(session), self.stage(session), self._stop(session)

    def hold(self, session: Conversation, *boxes: list[str] | None) -> None:
        """Uploads belong to the conversation that they were sent in; those that it let go are removed in time."""
        asked = {file for turn in session.turns if turn.ask for files in turn.ask.files for file in files}
        session.files = asked | {file for files in boxes for file in files or ()}
        self.studio.visits.touch(session)

    def history(self, session: Conversation | None) -> str:
        return chat.history(session or Conversation())

    def stage(self, session: Conversation) -> str:
        return stage.frame(session.shown or self.welcome)

    def ideas(self, task: str) -> list[list[str]]:
        """Examples of a task: words, or names of motions."""
        form = self.studio.forms[task]
        return [[idea] for idea in (self.clips if form.clips else form.examples)]

    # what is done

    def choose(self, task: str, model: str) -> tuple:
        """Show what the task needs: words, clips and their boxes, seconds, samples, examples; and which
        models can do it, the chosen one if it can."""
        update = self.gr.update
        if task == LIVE:
            return (*(self.gr.skip() for _ in range(7)), self._models(STREAM, SPOKEN, model))
        form = self.studio.forms[task]
        made = form.makes == "motion"
        first = {1: "Motion" if form.makes == "text" else "Begins with", 2: "Begins with"}.get(form.clips, "Motion")
        ideas = self.ideas(task)
        return (
            update(placeholder=form.hint), update(visible=form.clips > 0), update(label=first),
            update(visible=form.clips > 1), update(visible=made), update(visible=made),
            self.gr.Dataset(samples=ideas, visible=bool(ideas)), self._models(task, form.shape, model),
        )  # fmt: skip

    def _models(self, task: str, shape: Shape, chosen: str) -> Any:
        models = self.studio.models
        choices = models.choices(task, shape)
        other = chosen not in models.names and models.free
        able = other or chosen in [name for _, name in choices]
        return self.gr.update(choices=choices, value=chosen if able else choices[0][1])

    def live(self, session: Conversation, task: str, model: str) -> str:
        """The page of the live figure where its tab is chosen; the figure ends where another one is."""
        if task != LIVE:
            return ""
        self.studio.visits.touch(session)
        return live.frame(session.name, model)

    def limit(self, task: str, model: str) -> Any:
        """Tell in the empty field how many seconds may be asked for. Of a motion that is given, what follows counts."""
        if task == LIVE:
            return self.gr.skip()
        models, form = self.studio.models, self.studio.forms[task]
        most = 0.0 if form.clips or form.makes == "text" else models.limit(models.named(model, task, form.shape))
        return self.gr.update(placeholder=f"\N{LESS-THAN OR EQUAL TO} {most:g}" if most else "auto")

    def pick(self, idea: list[str], task: str, first: list[str] | None) -> tuple:
        """Put an example where it belongs: the text, the first upload, or the second where the first is taken."""
        skip = self.gr.skip()
        if not self.studio.forms[task].clips:
            return idea[0], skip, skip
        file = [self.clips[idea[0]]]
        return (skip, skip, file) if first and self.studio.forms[task].clips > 1 else (skip, file, skip)

    def send(
        self, session: Conversation, task: str, text: str, first, second, seconds, seed, samples, model: str,
        awaited: str = "",
    ) -> tuple:  # fmt: skip
        """Put a request into the queue; the text box is emptied when it was understood."""
        turn = self.studio.accept(session, task, text, (first, second), seconds, seed, samples, model, awaited)
        return self.history(session), self._stop(session), "" if turn.open else self.gr.skip()

    def again(self, session: Conversation) -> tuple:
        """Ask the last question once more, with the seeds that follow."""
        last = next((turn.ask for turn in reversed(session.turns) if turn.ask), None)
        if last is None:
            return self.history(session), self._stop(session), self.gr.skip()
        seed = last.seed + last.samples
        ask = dataclasses.replace(last, seed=seed if seed <= HIGHEST_SEED else 0)
        self.studio.enqueue(session, ask)
        return self.history(session), self._stop(session), ask.seed

    def work(self, session: Conversation) -> Iterator[tuple]:
        """Answer what the session asked, showing how far it is. Something is sent at every look, be it nothing new: so
        the server finds out who has left."""
        seen, shown, skip = "", session.shown, self.gr.skip()
        for turn in self.studio.answer(session):
            now = self.history(session)
            news = now != seen or not turn.open
            fresh = session.shown != shown
            yield now if news else skip, self.stage(session) if fresh else skip, self._stop(session) if news else skip
            seen, shown = now, session.shown
        # gradio empties what a function that yields nothing would have filled: the refusal of a request, for one.
        yield self.history(session), skip, self._stop(session)

    def stop(self, session: Conversation) -> tuple:
        session.stop()
        return self.history(session), self._stop(session)

    def clear(self, session: Conversation) -> tuple:
        self.studio.visits.forget(session)
        return self.history(session), self.stage(session), self._stop(session)

    def listen(self, recording: str | None) -> tuple:
        """Write what was said into the text box."""
        if not recording or self.listener is None:
            return self.gr.skip(), self.gr.skip()
        try:
            return self.listener(recording), None
        except MldError as error:
            self.gr.Warning(str(error))
            return self.gr.skip(), None
        finally:
            Path(recording).unlink(missing_ok=True)

    def _welcome(self) -> str:
        """The key of a first example, which stands on the stage until something is asked."""
        if not self.clips:
            return ""
        motion = Motion.load(self.clips.get(WELCOME) or next(iter(self.clips.values())))
        return self.studio.results.put(GREETING, [ViewItem(motion, GREETING)], pinned=True)

    def _stop(self, session: Conversation) -> Any:
        return self.gr.update(visible=session.busy)
