"""Who moves, and the pronouns that go with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mld.data.sources.procedural.actions import either


@dataclass(frozen=True)
class Person:
    """name: as said first ("a man"); he, his, him, himself: what follows it;
    many: verbs as with "they"; you: an order."""

    name: str
    he: str = "they"
    his: str = "their"
    him: str = "them"
    many: bool = False
    you: bool = False

    @property
    def himself(self) -> str:
        return {"he": "himself", "she": "herself", "it": "itself", "you": "yourself"}.get(self.he, "themselves")

    @property
    def later_many(self) -> bool:
        """Whether verbs after the pronoun are as with "they"."""
        return self.he in ("they", "you")


_HE, _SHE, _THEY, _IT = (("he", "his", "him"), ("she", "her", "her"), ("they", "their", "them"), ("it", "its", "it"))
_NAMES = {
    "a person": (_THEY, _HE, _SHE), "the person": (_THEY, _HE, _SHE), "someone": (_THEY, _HE), "somebody": (_THEY,),
    "a man": (_HE,), "the man": (_HE,), "a woman": (_SHE,), "the woman": (_SHE,), "a boy": (_HE,), "a girl": (_SHE,),
    "a guy": (_HE,), "a human": (_THEY, _HE), "the human": (_THEY, _HE), "a figure": (_IT, _THEY, _HE),
    "the figure": (_IT, _THEY, _HE), "a character": (_THEY, _HE, _SHE), "the character": (_THEY, _HE, _IT),
    "he": (_HE,), "she": (_SHE,), "they": (_THEY,), "an individual": (_THEY,), "this person": (_THEY, _HE),
    "a lady": (_SHE,), "a human figure": (_IT, _THEY), "the subject": (_THEY, _HE), "a child": (_THEY, _HE, _SHE),
}  # fmt: skip
_OFTEN = {
    "a person": 12.0,
    "the person": 4.0,
    "someone": 4.0,
    "a man": 4.0,
    "a woman": 2.0,
    "he": 2.0,
    "the figure": 2.0,
}
_CHANCES = np.array([_OFTEN.get(name, 1.0) for name in _NAMES])
YOU = Person("you", "you", "your", "you", many=True, you=True)


def someone(rng: np.random.Generator) -> Person:
    """Anybody, the most usual names more often."""
    name = list(_NAMES)[int(rng.choice(len(_NAMES), p=_CHANCES / _CHANCES.sum()))]
    return Person(name, *either(rng, *_NAMES[name]), many=name == "they")
