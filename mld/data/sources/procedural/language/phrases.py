"""Small grammar of phrases: what an action is called, in any form of its verbs, for any person.

A phrase is written once and said in many ways. Its signs:
    [raise|lift|put up]   a verb, one of several; its first word gets the form that the sentence asks for
    <up|into the air|>    one of several wordings, the last one here being nothing
    {slot}                a word of the action, by its wordings under `slots`; or a made one (below)
    side=both :: ...      a phrase only for actions whose word `side` is "both" (`!=`: is not); several with commas
    ~left kick|to the front   a noun with what follows it: "a left kick to the front", "does three left kicks to ..."
A phrase with no verb in brackets is in the third person: its first word is the verb, and so are those after "and".
Made slots: {hand}, {arm}, {leg}, ...: the part of the action's side ("the left hand", "both his hands"), {hand:other}
that of the word `other`; {dir}, {dir:other}: "to the left"; {it}: "it" or "them"; {his}, {him}, {he}, {himself}.
The slot {where_arm} puts the word `where` into words by the table `where_arm`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mld.data.sources.procedural.actions import Action, either
from mld.data.sources.procedural.language.people import Person
from mld.data.sources.procedural.language.verbs import base, gerund, plural, third

PARTS = {
    "hand": "hands",
    "arm": "arms",
    "leg": "legs",
    "foot": "feet",
    "knee": "knees",
    "fist": "fists",
    "elbow": "elbows",
    "shoulder": "shoulders",
    "wrist": "wrists",
    "ear": "ears",
    "hip": "hips",
    "heel": "heels",
    "thumb": "thumbs",
    "finger": "fingers",
}
SIDE_WAYS = (
    "to the {}",
    "to the {}",
    "to the {}",
    "to {his} {}",
    "to {his} {}",
    "to the {} side",
    "to {his} {} side",
    "{}wards",
    "towards the {}",
    "to {his} {}-hand side",
    "to the {}-hand side",
)
TIMES = {
    "1": ("once", "once", "one time", "a single time"),
    "2": ("twice", "two times", "2 times", "twice in a row"),
    "3": ("three times", "three times", "3 times", "thrice", "three times in a row"),
    "4": ("four times", "4 times"),
    "5": ("five times", "5 times"),
    "6": ("six times", "6 times"),
    "7": ("seven times", "7 times"),
    "8": ("eight times", "8 times"),
}
NUMBERS = {"1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight"}
TEMPO = {
    "slow": ("slowly", "slowly", "slowly", "very slowly", "at a slow pace", "in slow motion", "unhurriedly"),
    "fast": ("quickly", "quickly", "fast", "rapidly", "swiftly", "very quickly", "at a fast pace"),
    "hard": ("hard", "powerfully", "with force", "forcefully"),
    "gentle": ("gently", "softly", "lightly"),
}
TOLD_TIMES, TOLD_ONCE, TOLD_TEMPO = 0.75, 0.25, 0.75  # shares of sentences that say them

_VERB = re.compile(r"\[([^\]]+)\]")
_CHOICE = re.compile(r"<([^<>]*)>")
_SLOT = re.compile(r"\{([a-z_]+)(?::([a-z]+))?\}")
_SECOND_VERB = re.compile(r"(?:(?<= and )|(?<= then ))([a-z]+(?:s|es))\b")
_NOUNS = frozenset(
    [
        "arms",
        "legs",
        "hands",
        "feet",
        "knees",
        "steps",
        "circles",
        "times",
        "his",
        "sideways",
        "backwards",
        "forwards",
        "towards",
        "across",
    ]
)


@dataclass(frozen=True)
class Said:
    """A phrase chosen for one action, before a form is asked for. noun: it is a noun, not a verb."""

    action: Action
    text: str
    noun: bool = False

    def form(self, rng: np.random.Generator, form: str, person: Person, slots: dict) -> str:
        """The phrase as "third", "base" or "ing" of a person; a noun as what it is."""
        text = self.text
        if self.noun:
            text = _noun(rng, text, self.action.words)
            if form != "noun":
                text = f"[{either(rng, 'do', 'do', 'perform', 'make', 'execute')}] {text}"
        text = _VERB.sub(lambda match: f"[{either(rng, *match.group(1).split('|'))}]", text)
        text = _CHOICE.sub(lambda match: either(rng, *match.group(1).split("|")), text)
        text = _adverbs(rng, text, self.action.words)
        text = _VERB.sub(lambda match: _formed(match.group(1), form), text)
        while _SLOT.search(text):
            text = _SLOT.sub(lambda match: _filled(rng, match, self.action.words, person, slots), text)
        return text


def candidates(phrases: list[str], action: Action) -> list[Said]:
    """The phrases that are true for an action."""
    found = []
    for phrase in phrases:
        condition, mark, text = phrase.rpartition("::")
        if not mark or all(_holds(part.strip(), action.words) for part in condition.split(",")):
            text = text.strip()
            found.append(
                Said(action, text.removeprefix("~") if text.startswith("~") else _marked(text), text.startswith("~"))
            )
    return found


def _holds(condition: str, words: dict[str, str]) -> bool:
    name, unequal, value = condition.partition("!=")
    if unequal:
        return words.get(name.strip(), "") not in value.strip().split("|")
    name, _, value = condition.partition("=")
    return words.get(name.strip(), "") in value.strip().split("|")


def _marked(text: str) -> str:
    """A phrase in the third person with its verbs put into brackets."""
    if "[" in text:
        return text
    head, blank, rest = text.partition(" ")
    if not head.endswith("s"):  # "first walks": the verb comes later
        return f"{head}{blank}{_marked(rest)}" if rest else f"[{head}]"
    rest = _SECOND_VERB.sub(lambda m: m.group() if m.group() in _NOUNS else f"[{base(m.group())}]", blank + rest)
    return f"[{base(head)}]{rest}"


def _formed(verb: str, form: str) -> str:
    return {"third": third, "ing": gerund}.get(form, str)(verb)


def _noun(rng: np.random.Generator, text: str, words: dict[str, str]) -> str:
    """A noun with its article or number: "a left kick", "three left kicks", "left kicks"."""
    noun, _, rest = text.partition("|")
    count = words.get("times", "1")
    if count == "1":
        told = f"{either(rng, 'a', 'a', 'one')} {noun.strip()}"
    else:
        told = f"{either(rng, NUMBERS[count], NUMBERS[count], count, '')} {plural(noun.strip())}"
    return f"{told} {rest.strip()}{{told}}" if rest else f"{told}{{told}}"


def _adverbs(rng: np.random.Generator, text: str, words: dict[str, str]) -> str:
    """How often and how fast, where the phrase has no place of its own for it."""
    count, tempo = words.get("times", ""), words.get("tempo", "")
    counted = "{told}" in text
    text = text.replace("{told}", "")
    if count in TIMES and not counted and "{times}" not in text and "{count}" not in text:
        told = rng.random() < (TOLD_ONCE if count == "1" else TOLD_TIMES)
        if told:
            text = f"{text} {either(rng, *TIMES[count])}"
    if tempo in TEMPO and "{tempo}" not in text and rng.random() < TOLD_TEMPO:
        how = either(rng, *TEMPO[tempo])
        before = how.endswith("ly") and rng.random() < 0.45
        text = f"{how} {text}" if before else f"{text} {how}"
    return text


def _filled(rng: np.random.Generator, match: re.Match, words: dict[str, str], person: Person, slots: dict) -> str:
    name, which = match.group(1), match.group(2) or "side"
    if name in ("he", "his", "him", "himself"):
        return getattr(person, name)
    if name in PARTS and name not in words:
        return _part(rng, PARTS, name, words[which])
    if name == "dir" and name not in words:
        return either(rng, *SIDE_WAYS).replace("{}", words[which])
    if name == "it":
        return "them" if words[which] == "both" else "it"
    word = words[name if name in words else name.partition("_")[0]]
    if name == "times" and word in TIMES and name not in slots:
        return either(rng, *TIMES[word])
    listed = slots.get(name, {})
    return either(rng, *listed[word]) if word in listed else word


def _part(rng: np.random.Generator, parts: dict[str, str], name: str, side: str) -> str:
    if side == "both":
        many = parts[name]
        return either(
            rng,
            f"both {many}",
            f"both {many}",
            f"both {many}",
            f"{{his}} {many}",
            f"both of {{his}} {many}",
            f"the {many}",
        )
    return either(rng, f"the {side} {name}", f"the {side} {name}", f"{{his}} {side} {name}", f"{{his}} {side} {name}")
