"""Sentences of motions one after the other, made of the sentences of each: "a person walks forward, then turns left."

Of the second motion on, the subject is taken away where what follows it is surely a verb in the third person, so that
the rest goes on from the first subject. Where that is not sure, or a sentence has an order of its own, sentences stay
whole and the order stands between them: "... . Then ...".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PEOPLE = (
    "person|man|woman|figure|dancer|performer|player|boxer|fighter|artist|acrobat|gymnast|actor|athlete|individual|human|"
    "guy|girl|boy|lady|gentleman|child|kid|adult|character|subject|runner|walker|pedestrian|skater|golfer|robot"
)
NO_VERB = re.compile(
    r"(?:this|its|his|across|always|perhaps|sometimes|arms|legs|hands|hips|knees|feet|yes|towards|forwards|backwards|"
    r"sideways|upwards|downwards|afterwards|besides|plus|less|as|.*ss|.)",
    re.IGNORECASE,
)
ADVERB = r"(?:[a-z]+ly|just|then|again|also|first|now|side|shadow|salsa|long) "  # also of "side steps"
SUBJECT = re.compile(
    rf"(?P<who>someone|somebody|he|she|(?:an?|the)(?: [a-z-]+){{0,2}}? (?:{PEOPLE})) "
    rf"(?P<adverb>(?:{ADVERB})?)(?P<verb>[a-z]+)\b(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
NO_CHAIN = re.compile(r";|[.!?]\s|\b(?:after|before|first|finally|while|until|when)\b", re.IGNORECASE)
ORDERED = re.compile(rf"{NO_CHAIN.pattern}|\bthen\b", re.IGNORECASE)
MANY_VERBS = re.compile(r",|\b(?:and|or|but|as|to|trying|is|does not)\b", re.IGNORECASE)
VOWELS = "aeiou"
GERUNDS = {"begin": "beginning", "be": "being", "quit": "quitting", "travel": "travelling"}

TWO = (
    "{who} {a}, then {b}",
    "{who} {a} and then {b}",
    "{who} {a} and after that {b}",
    "{who} {a}, and then {b}",
    "{who} first {a}, then {b}",
    "first {who} {a}, then {they} {b}",
    "{who} {a}. then {they} {b}",
    "{who} {a}. after that, {they} {b}",
    "{who} {a}. next, {they} {b}",
    "after {a_ing}, {who} {b}",
    "{who} {b} after {a_ing}",
    "{who} {a} before {b_ing}",
    "before {b_ing}, {who} {a}",
)
THREE = (
    "{who} {a}, then {b}, then {c}",
    "{who} {a}, then {b} and then {c}",
    "{who} {a}, then {b} and finally {c}",
    "{who} {a}, {b} and then {c}",
    "first {who} {a}, then {they} {b}, and finally {they} {c}",
    "{who} first {a}, next {b}, and finally {c}",
    "{who} {a} and then {b}, and after that {c}",
    "{who} {a}. then {they} {b}. finally, {they} {c}",
    "{who} {a}, then {b}. after that, {they} {c}",
    "after {a_ing}, {who} {b} and then {c}",
    "{who} {a}, then {b} before {c_ing}",
)
CHAIN = {2: "{who} {a}, then {b}", 3: "{who} {a}, then {b}, then {c}"}  # also of what is a chain itself
WHOLE = {2: ("{a}. then {b}", "{a}. after that, {b}", "first, {a}. then, {b}", "{a}. next, {b}"),
         3: ("{a}. then {b}. finally, {c}", "first, {a}. then {b}. after that, {c}", "{a}. next, {b}. at the end, {c}")}


@dataclass(frozen=True)
class Told:
    """A sentence taken apart. text: without its final stop. who, does: its subject and what it does, both empty where
    that is not sure. plain: it tells no order of its own. ing: what it does as "walking forward", or empty."""

    text: str
    stop: str = ""
    who: str = ""
    does: str = ""
    plain: bool = False
    ing: str = ""


def take_apart(sentence: str) -> Told:
    """Of one sentence, or several in a row."""
    text = " ".join(sentence.split())
    stop = "." if text.endswith(".") else ""
    text = text.rstrip(".!? ") or text
    plain = not ORDERED.search(text)
    parts = SUBJECT.fullmatch(text)
    if parts is None or not _third_person(parts["verb"]):
        return Told(text, stop, plain=plain)
    does = f"{parts['adverb']}{parts['verb']}{parts['rest']}"
    single = plain and not MANY_VERBS.search(parts["rest"]) and parts["verb"] != "is"
    ing = f"{parts['adverb']}{gerund(parts['verb'])}{parts['rest']}" if single else ""
    return Told(text, stop, parts["who"], does, plain, ing)


def gerund(verb: str) -> str:
    """"running" of "runs"."""
    base = verb
    if re.search(r"(?:ch|sh|ss|x|zz|o)es$", verb):
        base = verb[:-2]
    elif verb.endswith("ies") and len(verb) > 4:
        base = verb[:-3] + "y"
    elif verb.endswith("s"):
        base = verb[:-1]
    if base in GERUNDS:
        return GERUNDS[base]
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return base[:-1] + "ing"
    groups = len(re.findall(f"[{VOWELS}]+", base))
    doubles = re.search(f"(?:^|[^{VOWELS}])[{VOWELS}][^{VOWELS}wxy]$", base)
    return base + (base[-1] if groups == 1 and doubles else "") + "ing"


def in_order(rng: np.random.Generator, sentences: Sequence[Sequence[str]], count: int) -> tuple[str, ...]:
    """Up to `count` different wordings, at least one, of two or three motions of which each is told by any of its
    sentences. Sentences that tell one thing are taken where a motion has such."""
    found: dict[str, None] = {}
    told = [_best([take_apart(one) for one in own]) for own in sentences]
    for _ in range(4 * count):
        found.setdefault(_one(rng, [own[int(rng.integers(len(own)))] for own in told]))
        if len(found) == count:
            break
    return tuple(found)


def _best(told: list[Told]) -> list[Told]:
    """The sentences with a subject and one thing, else those that have either, else all."""
    both = [one for one in told if one.plain and one.does]
    return both or [one for one in told if one.plain] or told


def _one(rng: np.random.Generator, parts: list[Told]) -> str:
    letters, who = "abc"[: len(parts)], parts[0].who
    words: dict[str, str] = {letter: part.does for letter, part in zip(letters, parts)}
    words |= {f"{letter}_ing": part.ing for letter, part in zip(letters, parts)}
    words |= {"who": _small(who), "they": _again(rng, who) if who else ""}
    if all(part.does and part.plain for part in parts):
        frames = TWO if len(parts) == 2 else THREE
        usable = [frame for frame in frames if all(words[slot] for slot in re.findall(r"{(\w+)}", frame))]
        several = [letter for letter, part in zip(letters, parts) if re.search(r"\band\b", part.does)]
        hard = "|".join(rf"{{{letter}}} and|{{{letter}}}, {{b}}|{{{letter}}} after" for letter in several)
        usable = [frame for frame in usable if not hard or not re.search(hard, frame)]
    elif all(part.does and not NO_CHAIN.search(part.does) for part in parts) and rng.random() < 0.5:
        usable = [CHAIN[len(parts)]]
    else:
        usable = list(WHOLE[len(parts)])
        later = [_follows(part, words["they"]) for part in parts[1:]]
        words = dict(zip(letters, [_small(parts[0].text), *later]))
    sentence = usable[int(rng.integers(len(usable)))].format(**words)
    large = parts[0].text[:1].isupper()
    if large or rng.random() < 0.5:
        sentence = re.sub(r"([.] )([a-z])", lambda match: match[1] + match[2].upper(), sentence)
    if large:
        sentence = sentence[:1].upper() + sentence[1:]
    return sentence + parts[0].stop


def _follows(part: Told, who: str) -> str:
    """A whole sentence that comes second. who: of the first one, "" where that is not known."""
    if not part.does:
        return _small(part.text)
    last = part.who.split()[-1].lower()
    return f"{who or ('the person' if last.startswith('some') else f'the {last}')} {part.does}"


def _again(rng: np.random.Generator, who: str) -> str:
    """What the subject of the first sentence is called in the next one."""
    last = who.split()[-1].lower()
    if last in ("he", "she"):
        return last
    if last in ("someone", "somebody"):
        return "the person"
    pronoun = {"man": "he", "guy": "he", "boy": "he", "woman": "she", "girl": "she", "lady": "she"}.get(last)
    return pronoun if pronoun and rng.random() < 0.5 else f"the {last}"


def _small(text: str) -> str:
    """The text with a small letter at the begin."""
    return text[:1].lower() + text[1:]


def _third_person(verb: str) -> bool:
    return verb.endswith("s") and not NO_VERB.fullmatch(verb)
