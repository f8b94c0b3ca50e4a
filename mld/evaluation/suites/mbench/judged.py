"""The two dimensions of MBench that a judge decides from pictures of a motion (spec mbench, section 8).

`Motion_Condition_Consistency`: which of ten labels does the motion show? `Motion_Generalizability`: is it what a text
says? The questions are our own; judge, pictures and words differ from the published ones, so numbers of this judge
compare with each other and not with the published table.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mld.errors import MldError, RequestError, nearest
from mld.evaluation.judge.answers import published_choice, published_yes, robust_choice, robust_yes
from mld.evaluation.judge.contract import Judge, JudgeError
from mld.evaluation.judge.frames import frame_rate, pictures, subject
from mld.evaluation.judge.recorded import ask_about, recorded
from mld.motion.motion import Motion

NAMES = ("Motion_Condition_Consistency", "Motion_Generalizability")
MODES = ("strict", "upstream")
NO_JUDGE = "no judge; name one by --judge"
LOOK = (
    "They show a motion of a person, drawn as a figure of sticks that one camera sees from the same place. First say "
    "in two or three sentences what the body does: how it holds itself, which limbs move and in which way, what "
    "happens again and again."
)
CHOOSE = LOOK + (
    ' Then leave a line empty and choose the label that comes nearest to it from this list: "{labels}". Take one label '
    "as it stands in the list, also where none is quite right, and end with a single line of this form:\n"
    "The nearest label of the list is: <label>\n\n"
    'An example, for a list with "climbing stairs" in it: The person is upright and lifts one knee after the other, '
    "higher and further on each time, while the hands stay at hip height.\n\n"
    "The nearest label of the list is: climbing stairs"
)
DECIDE = LOOK + (
    ' Then hold it against this description: "{text}". What counts is whether the body does what the description '
    "means; how well it is drawn, how smooth or how lifelike it is does not count. Give your reason in one sentence "
    "and end with a single line of this form:\nAnswer: yes\nor\nAnswer: no"
)


@dataclass(frozen=True)
class Judged:
    """What a judge said of a motion. value: 1 or 0, of the parser of the mode, None where there is none, and `reason`
    says why. prediction: the label, or the decision, that this parser took. raw: the answer. candidates: the labels in
    the order in which they were offered. published, robust: the values of both parsers."""

    value: float | None
    reason: str = ""
    prediction: str = ""
    raw: str = ""
    candidates: tuple[str, ...] = ()
    published: float | None = None
    robust: float | None = None

    @property
    def decision(self) -> str:
        return self.prediction


class JudgedScorer:
    """mode: "strict" takes the robust parser, for which an answer that says nothing is no value; "upstream" the
    published one, for which it is 0. seed: of the order of labels. cache: folder of answers, which are used again.

    May be called from several threads."""

    def __init__(self, judge: Judge | None, mode: str = "strict", seed: int = 0, cache: Path | None = None) -> None:
        if mode not in MODES:
            raise RequestError(f"no mode '{mode}' of MBench; {nearest(mode, MODES)}")
        self.mode, self.seed = mode, seed
        self.judge, self._reason, self.identity, self._away = judge, NO_JUDGE, "", ""
        self.named = judge is not None
        if judge is not None:
            try:
                self.judge = recorded(judge, cache)
                self.identity = judge.identity
            except MldError as error:  # an endpoint that does not say which models it has
                self.judge, self._reason = None, str(error)

    def reasons(self) -> dict[str, str]:
        """Why dimensions cannot be judged; empty where they can."""
        return dict.fromkeys(NAMES, self._reason) if self.judge is None else {}

    def options(self, label: str, others: Sequence[str]) -> tuple[str, ...]:
        """The labels that are offered, the right one among them once, in an order that the seed gives."""
        found = list(dict.fromkeys(others))
        if label not in found:
            found.append(label)
        random.Random(f"{self.seed}\0{label}\0" + "\0".join(found)).shuffle(found)
        return tuple(found)

    def consistency(self, motion: Motion, label: str, others: Sequence[str]) -> Judged:
        """Whether a judge takes a motion for `label` rather than for one of the others."""
        offered = self.options(label, others)
        if len(offered) < 2:
            return Judged(None, "no other label to choose from; 'others' of the prompt lists them", candidates=offered)
        answer, reason = self._ask(motion, CHOOSE.format(labels=", ".join(offered)))
        if reason:
            return Judged(None, reason, candidates=offered)
        prediction, published = published_choice(answer, label)
        found = robust_choice(answer, offered)
        robust = None if found is None else float(found.lower() == label.lower())
        if self.mode == "upstream":
            return Judged(published, "", prediction, answer, offered, published, robust)
        reason = "" if found is not None else "the answer ends with none of the labels, or with several"
        return Judged(robust, reason, found or "", answer, offered, published, robust)

    def generalizability(self, motion: Motion, text: str) -> Judged:
        """Whether a judge finds that a motion is what a text says."""
        answer, reason = self._ask(motion, DECIDE.format(text=" ".join(text.split())))
        if reason:
            return Judged(None, reason)
        decision, published = published_yes(answer)
        found = robust_yes(answer)
        robust = None if found is None else float(found)
        if self.mode == "upstream":
            return Judged(published, "", decision, answer, (), published, robust)
        reason = "" if found is not None else "the answer says neither yes nor no"
        word = {True: "yes", False: "no", None: ""}[found]
        return Judged(robust, reason, word, answer, (), published, robust)

    def _ask(self, motion: Motion, question: str) -> tuple[str, str]:
        """An answer, or why there is none."""
        if self.judge is None or self._away:
            return "", self._away or self._reason
        try:
            about, rate = subject(motion), frame_rate(motion)
            return ask_about(self.judge, question, about, lambda: pictures(motion), rate), ""
        except MldError as error:
            if isinstance(error, JudgeError) and error.lasting:
                self._away = str(error)  # no more pictures are drawn for it
            return "", str(error)
