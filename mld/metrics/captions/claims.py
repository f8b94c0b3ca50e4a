"""Does a caption say the right thing? Actions, sides and directions that words name, against facts that are measured on
the motion itself (`mld.motion.facts`).

BLEU and its kind count shared words: "turns left" of a turn to the right loses one word in six. Here it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from mld.metrics.captions.wording import DETERMINER, LIMBS, claimed
from mld.metrics.items import Items, MeanMetric
from mld.metrics.uncertainty import PerItem
from mld.motion.facts import Event, Facts

JOINTS = 22  # of SMPL, which facts are measured on
MOVED = 0.2  # metres; less is no way
MORE = 1.25  # times the motion of the other limb: the one that is spoken of
# Words from a verb to its object: no other clause, and not what is done with or to something else.
GAP = r"(?:(?!(?:down|with|in|by|of|off|from|using|on|onto|to|between)\b)\w+\s+){0,4}?"
UP = rf"(?:rais|lift|stretch|extend)\w*\s+{GAP}"
HANDS = r"(?:arms?|hands?)"
HELD = r"(?:raised|lifted|up|out|outstretched|overhead|above|high|over\s+\w+\s+heads?|in\s+the\s+air)\b"
# What words name: events that are such an action.
ACTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "walk": (
        r"walk\w*|stroll\w*|wander\w*|ambl(?:es?|ing)|strid(?:es?|ing)", ("walk", "walk_backward", "side_step", "march")
    ),
    "march": (r"march\w*", ("march", "walk")),
    "run": (r"(?:runs?|running|ran|jog\w*|sprint\w*)\b(?!\s+(?:\w+\s+)?backwards?)", ("run",)),
    "run backward": (r"(?:runs?|running|ran|jog\w*)\s+(?:\w+\s+)?backwards?", ("walk_backward", "run")),
    "jump": (r"jump\w*|leap\w*|leapt", ("jump", "hop", "leap", "jumping_jack")),
    "hop": (r"hop(?:s|ped|ping)?", ("hop", "jump")),
    "jumping jack": (r"jumping\s+jacks?|star\s+jumps?", ("jumping_jack",)),
    "side step": (r"side\s*-?\s*step\w*|step\w*\s+(?:to\s+(?:the|one|his|her|their)\s+side|sideways)", ("side_step",)),
    "turn": (r"turn\w*|spin\w*|spun|rotat\w*|pivot\w*|twirl\w*", ("turn",)),
    "sit": (r"sits?|sitting|sat", ("sit",)),
    "squat": (r"squat\w*|crouch\w*", ("squat",)),
    "kneel": (r"kneel\w*|knelt", ("kneel",)),
    "lie": (r"lies?|lying|(?:lays?|laid)\s+down|laying", ("lie",)),
    "bow": (r"bow(?:s|ed|ing)?", ("bow", "bend")),
    "bend": (r"bends?|bending|bent|stoop\w*", ("bow", "bend", "lean", "hand_low", "squat", "lunge")),
    "pick up": (r"pick(?:s|ed|ing)?(?:\s+\w+){0,4}?\s+up", ("hand_low",)),
    "kick": (r"kick\w*", ("kick",)),
    "punch": (r"punch\w*|jab(?:s|bed|bing)?|box(?:es|ed|ing)", ("punch",)),
    "wave": (r"wav(?:es?|ed|ing)", ("wave",)),
    "clap": (r"clap\w*|applaud\w*", ("clap",)),
    "raise an arm": (
        rf"{UP}{HANDS}|(?:hold|put|throw|reach)\w*\s+(?:(?:up|out)\s+{GAP}{HANDS}|{GAP}{HANDS}\s+(?:straight\s+)?{HELD})|"
        rf"outstretched\s+{HANDS}|{HANDS}\s+(?:(?:is|are|was|were|held)\s+)?{HELD}",
        ("raise_hand", "overhead", "arm_out", "arm_front"),
    ),
    "raise a knee": (UP + r"(?:knees?)|high\s+knees", ("knee_raise", "march")),
}
SIDE = rf"(left|right)\b(?!\s+(?:\w+\s+)?{LIMBS})(?:\s+(?:and|or)\s+(left|right)\b)?"
ON = r"(?:\s+(?!(?:and|then|while|with|before|after)\b)\w+)"  # a word of the same clause
OWN = r"(?:the|his|her|their|its|my|your|one's)\s+(?:far\s+|other\s+|very\s+)?"
NO_WORD = rf"(?!(?:{DETERMINER}|{LIMBS}|and|or|with|in|on|to|then)\b)"
WHICH = rf"(left|right)(?:\s+(?:and|or)\s+(left|right))?\s+(?:{NO_WORD}\w+\s+)?"
STANDING = "standing leg"  # it is the other one that does something
# What words name with a side: the sides are the only groups.
SIDES: Mapping[str, str] = {
    STANDING: rf"(?:stand|balanc)\w*\s+(?:\w+\s+)?on\s+(?:{DETERMINER}\s+)?(left|right)\s+(?:leg|foot)\b",
    "turn": rf"(?:turn|spin|spun|rotat|pivot|twirl|veer|curv|circl)\w*{ON}{{0,6}}?\s+{SIDE}|(left|right)[\s-]turn",
    "step": rf"(?:step|shuffl|slid|mov|walk|jump|hop|lean)\w*"
            rf"(?:{ON}{{0,3}}?\s+(?:to|towards?)\s+{OWN}|\s+(?:sideways\s+)?){SIDE}",
    "arm": rf"{WHICH}(?:hands?|arms?|fists?|elbows?|wrists?|jabs?|hooks?|uppercuts?|punch(?:es)?)\b",
    "leg": rf"{WHICH}(?:foot|feet|legs?|knees?|ankles?|kicks?)\b",
}  # fmt: skip
AROUND = {  # seen from above
    r"(?<!counter)(?<!counter[\s-])(?<!anti)(?<!anti[\s-])clockwise|\bcw\b": "right",
    r"(?:counter|anti)[\s-]?clockwise|\bccw\b": "left",
}
WAYS = {r"backwards?|in\s+reverse": "backward", r"forwards?": "forward"}
ARM = ("raise_hand", "overhead", "arm_out", "arm_front", "wave", "punch", "arm_circle", "hand_low", "hand_head",
       "hand_hip")  # fmt: skip
LEG = ("kick", "knee_raise", "hop", "lunge")


class Measured(Protocol):
    """What is asked of `mld.motion.facts.Facts`."""

    @property
    def events(self) -> tuple[Event, ...]: ...

    @property
    def forward(self) -> float: ...

    @property
    def leftward(self) -> float: ...

    def activity(self, limb: str) -> float: ...


@dataclass(frozen=True)
class Claims:
    """What a text says. actions: keys of `ACTIONS`. sides: what (of `SIDES`, or "way"), which one."""

    actions: frozenset[str]
    sides: frozenset[tuple[str, str]]


def claims(text: str) -> Claims:
    """What is said in a caption, what it denies left out; nothing where no known word is in it."""
    text = claimed(text)
    actions = {name for name, (words, _) in ACTIONS.items() if re.search(rf"\b(?:{words})\b", text)}
    sides: set[tuple[str, str]] = set()
    for kind, pattern in SIDES.items():
        for found in re.finditer(rf"\b(?:{pattern})", text):
            sides |= {(kind, side) for side in found.groups() if side}
        text = re.sub(rf"\b(?:{pattern})", " ", text) if kind == STANDING else text
    sides |= {("turn", side) for words, side in AROUND.items() if re.search(words, text)}
    sides |= {("way", way) for words, way in WAYS.items() if re.search(rf"\b(?:{words})\b", text)}
    return Claims(frozenset(actions), frozenset(sides))


def happens(action: str, facts: Measured) -> bool:
    """Whether a motion shows an action. action: of `ACTIONS`."""
    _, events = ACTIONS[action]
    return any(event.name in events for event in facts.events)


def on_side(kind: str, side: str, facts: Measured) -> bool:
    """Whether what is named with a side is on that side."""
    if kind == "way":
        moved = facts.forward if side == "forward" else -facts.forward
        return moved > MOVED or any(event.way == side for event in facts.events)
    sign = 1 if side == "left" else -1
    turned = any(event.name == "turn" and event.amount * sign > 0 for event in facts.events)
    if kind == "turn":
        return turned
    if kind == "step":
        aside = any(event.name in ("side_step", "lean") and event.side == side for event in facts.events)
        return turned or aside or facts.leftward * sign > MOVED
    other = "right" if side == "left" else "left"
    if kind == STANDING:
        return any(event.name in ("one_leg", "hop") and event.side in (side, "both") for event in facts.events)
    names = ARM if kind == "arm" else LEG
    if any(event.name in names and event.side in (side, "both") for event in facts.events):
        return True
    return facts.activity(f"{side}_{kind}") > MORE * facts.activity(f"{other}_{kind}")


class ClaimScores(MeanMetric):
    """Percent. `actions_true`, `sides_true`: of what captions name, what the motion shows; `_real`: the same of the
    clips' own captions, which says how far words and measures agree at all. `actions_said`, `sides_said`: of what the
    clip's own captions name and the motion shows, what the caption says, too. Clips and captions of which no known word
    is said do not count."""

    columns = ("totals", "weights")
    names = ("actions_said", "actions_true", "sides_said", "sides_true", "actions_true_real", "sides_true_real")
    units = dict.fromkeys(names, "%")

    def update(
        self, said: str, references: Sequence[str], joints: torch.Tensor, fps: float,
        ids: Sequence[int] | torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        """One clip. said: its caption of a model. joints: (T, 22, 3), metres, y up."""
        self.add(said, references, Facts(np.asarray(joints.detach().cpu().double()), fps), ids)

    def add(
        self, said: str, references: Sequence[str], facts: Measured, ids: Sequence[int] | torch.Tensor | None = None
    ) -> None:
        mine, named = claims(said), _together(map(claims, references))
        true = _true(_together([mine, named]), facts)
        shares = torch.tensor([
            _share(named.actions & true.actions, mine.actions), _share(mine.actions, true.actions),
            _share(named.sides & true.sides, mine.sides), _share(mine.sides, true.sides),
            _share(named.actions, true.actions), _share(named.sides, true.sides),
        ], dtype=torch.float64)  # fmt: skip
        self._add(ids, totals=100 * shares[None, :, 0], weights=shares[None, :, 1])

    def per_item(self, items: Items) -> dict[str, PerItem]:
        totals, weights = items["totals"], items["weights"]
        return {name: PerItem(items.ids, totals[:, i], weights[:, i]) for i, name in enumerate(self.names)}


def _together(several: Iterable[Claims]) -> Claims:
    known = list(several)
    actions = frozenset(action for one in known for action in one.actions)
    return Claims(actions, frozenset(side for one in known for side in one.sides))


def _true(said: Claims, facts: Measured) -> Claims:
    """Those that the motion shows."""
    actions = frozenset(action for action in said.actions if happens(action, facts))
    return Claims(actions, frozenset(side for side in said.sides if on_side(*side, facts)))


def _share(asked: Collection[object], there: Collection[object]) -> tuple[int, int]:
    """How many of what is asked for are there, and how many are asked for."""
    return sum(one in there for one in asked), len(asked)
