"""Forms of English verbs: wave, waves, waving."""

from __future__ import annotations

THIRD = {"be": "is", "have": "has", "do": "does", "go": "goes"}
GERUND = {"be": "being", "lie": "lying", "tie": "tying", "die": "dying", "tiptoe": "tiptoeing"}
DOUBLED = frozenset(
    [
        "bat",
        "begin",
        "bob",
        "chop",
        "clap",
        "cut",
        "dab",
        "dip",
        "drag",
        "drop",
        "drum",
        "flap",
        "get",
        "grab",
        "grin",
        "hit",
        "hop",
        "hug",
        "jab",
        "jog",
        "let",
        "nod",
        "pat",
        "pop",
        "put",
        "rap",
        "rub",
        "run",
        "scrub",
        "set",
        "shrug",
        "shut",
        "sit",
        "skip",
        "slam",
        "slap",
        "slip",
        "sob",
        "spin",
        "squat",
        "stab",
        "step",
        "stir",
        "stop",
        "strum",
        "strut",
        "swat",
        "swig",
        "swim",
        "tap",
        "tip",
        "trot",
        "tug",
        "unwrap",
        "wag",
        "whip",
        "wrap",
        "zip",
        "zigzag",
    ]
)


def third(verb: str) -> str:
    """The third person of a verb, or of a phrase whose first word is the verb: "waves", "picks up"."""
    head, blank, rest = verb.partition(" ")
    return _third(head) + blank + rest


def gerund(verb: str) -> str:
    """The -ing form of a verb, or of a phrase whose first word is the verb: "waving", "picking up"."""
    head, blank, rest = verb.partition(" ")
    return _gerund(head) + blank + rest


def base(third_person: str) -> str:
    """The plain form of a verb in the third person: "waves" gives "wave"."""
    for plain, form in THIRD.items():
        if form == third_person:
            return plain
    if third_person.endswith("ies") and len(third_person) > 4:
        return third_person[:-3] + "y"
    if third_person.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return third_person[:-2]
    return third_person.removesuffix("s")


def plural(noun: str) -> str:
    """The plural of a noun, or of a phrase whose last word is the noun: "left kicks"."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _third(verb: str) -> str:
    if verb in THIRD:
        return THIRD[verb]
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _gerund(verb: str) -> str:
    if verb in GERUND:
        return GERUND[verb]
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + "ing"
