"""A caption before its claims are read: slips of the keyboard put right, left out what is denied and what only looks
like a claim.

"Left" is a side, and what somebody did with a room; "right" is a side, and "right away"; who "turns the head" or "turns
a wheel" does not turn. Rules decide by the words around, and leave a word alone where they cannot.
"""

from __future__ import annotations

import re

FORMS = """
left right forward forwards backward backwards clockwise walk walks walked walking runs running jump jumps jumped
jumping turn turns turned turning spins spinning kick kicks kicked kicking punch punches punching wave waves waved
waving clap claps clapping raise raises raised raising lift lifts lifted lifting squat squats squatting
crouch crouches crouching kneel kneels kneeling sits sitting bows bowing bends bending march marches marching
jogs jogging hops hopping step steps stepped stepping hand hands knee knees elbow foot
"""  # words of claims, which are found behind a slip
ENGLISH = """
beds caps clasp couch couches hadn hoping keel mach rise rises rising sins siting steep tuned tuning waking
"""  # what a slip makes another word of
_DENIES = (
    r"\b(?:without|instead\s+of|rather\s+than|neither|never|nor|not|no|cannot|avoid(?:s|ed|ing)?(?=\s+\w+ing\b)|"
    r"(?:do|does|did|is|are|was|were|ca|wo|would|could|should|has|have|had)n'?t)\b(?!\s+(?:only|just|merely)\b)"
)
_ENDS = r"\b(?:but|then|while|whilst|as|before|after|until|when|and(?!\s+\w+ing\b))\b"
DENIED = re.compile(rf"{_DENIES}(?:(?!{_ENDS})[^.,;:!?])*")  # to the end of the clause; "or" goes on, "and" with "-ing"

DETERMINER = r"(?:the|a|an|his|her|their|its|my|your|our|one|one's|both|each|some|this|that)"
LIMBS = r"(?:hands?|arms?|fists?|elbows?|wrists?|palms?|foot|feet|legs?|knees?|ankles?|thighs?|shoulders?|hips?|heels?)"
_PARTS = rf"(?:{LIMBS}|heads?|neck|face|gaze|eyes|waist|torso|trunk|chest|upper\s+body)"
_WHOSE = rf"(?:{DETERMINER}\s+)?(?:(?:left|right|upper|lower|other)\s+)?"
_AND = r"\b(?:\s+(?:and|or)\s+(?:left|right)\b)?"
_OF_PARTS = rf"(?:\s+(?:to|towards?)\s+\w+\s+(?:left|right|side){_AND}|\s+(?:left|right|sideways|around){_AND})?"
_THINGS = r"(?:wheel|knob|handle|key|page|valve|crank|dial|tap|faucet|screw|lights?|lamp|switch|machine|cartwheel)s?"


def _but_last(found: re.Match[str]) -> str:
    return found[0].rsplit(" ", 1)[0]


# What sounds like a claim and is none, and what stands for it.
_OTHERWISE = [(re.compile(pattern), instead) for pattern, instead in (
    (r"\b(left|right)[\s-]hand(?=\s+(?:side|turn)\b)", r"\1"), (r"\b(left|right)\s?-?wards?\b", r"\1"),
    # "left" of leaving
    (rf"\b(?:he|she|they|who|it|has|had|having|was|is|are|were|been)\s+left\b(?!\s+{LIMBS})", " "),
    (r"\bleft\s+(?:the|his|her|their|its|my|your|him|them|it|alone)\b", " "),
    (rf"\b(around|round|away|back|off|\w+ed)\s+and\s+(?:then\s+)?left\b(?!\s+(?:\w+\s+)?{LIMBS})", r"\1"),
    # "right" that is no side
    (r"\bright\s+(?:away|after|before|in\s+front|up|there|here|beside|next|near|now|back)\b", " "),
    (r"\bright[\s-]angle[sd]?\b|\b(?:all|just)\s+right\b", " "),
    (rf"\bright\s+a?round\b(?!\s+(?:{DETERMINER}|it|him|them)\b)", "around"),
    # what turns is a part of the body, or a thing
    (rf"\b(?:turn|rotat|twist|spin|spun|swivel|twirl)\w*\s+{_WHOSE}{_PARTS}\b{_OF_PARTS}", " "),
    (rf"\bturn\w*\s+(?:on\s+|off\s+)?{DETERMINER}\s+(?:\w+\s+)?{_THINGS}\b|\bin\s+turn\b|\btak\w+\s+turns\b", " "),
    (rf"\b({_PARTS}(?:\s+\w+){{0,3}}?)\s+(?:(?:counter|anti)[\s-]?)?clockwise\b", r"\1"),
    # the foot that steps: both do
    (rf"\b((?:start|begin|lead|step)\w*(?:\s+(?!(?:with|and|then)\b)\w+){{0,4}}?)\s+with\s+(?:{DETERMINER}\s+)?(?:left|right)\s+"
     r"(?:foot|leg)\b", r"\1"),
    # boxes that are carried, bows that shoot, hands that run
    (rf"\b(?:{DETERMINER}|two|three|several|many|of|heavy|large|big|small)\s+(?:\w+\s+)?box(?:es)?\b", " "),
    (r"\b(?:lift|carr|mov|stack|hold|push|pull|pick)\w*\s+(?:up\s+)?boxes\b", " "),
    (r"\bbows?\s+and\s+arrows?\b|\b(?:shoot|draw|pull|hold|aim|fir)\w*\s+(?:\w+\s+){0,2}bows?\b", " "),
    (rf"\brun(?:s|ning)?\s+{DETERMINER}\s+(?:\w+\s+)?(?:{LIMBS}|fingers?)\b", " "),
    (r"\bwalking\s+(?:stick|cane|frame)\b|\bwalk(?:way|er)s?\b|\bsit[\s-]?ups?\b", " "),
    # a part of the body is bent, or goes some way; the body does not
    (r"\bbent\s+(?:knees?|legs?)\b|\b(?:bend|bent)\w*\s+(?:\w+\s+){0,2}(?:arms?|elbows?|wrists?|fingers?)\b", " "),
    (r"\b(?:look|fac|lean|reach|gaz|bend|bow|stretch|point|tilt)\w*\s+(?:over\s+)?(?:for|back)wards?\b", _but_last),
    (rf"\b(?:{LIMBS}|head|chest|torso|trunk)\s+(?:\w+ed\s+|out\s+|straight\s+)?(?:for|back)wards?\b", _but_last),
)]  # fmt: skip
_WORD = re.compile(r"[a-z]{4,}")


def _slips() -> dict[str, str]:
    """Words with two letters swapped, one left out or one doubled, after the first letter, and what is meant."""
    found: dict[str, str] = {}
    forms = FORMS.split()
    for form in forms:
        for place in range(1, len(form) - 1):
            swapped = form[:place] + form[place + 1] + form[place] + form[place + 2 :]
            doubled = form[: place + 1] + form[place:]
            dropped = form[:place] + form[place + 1 :] if len(form) > 4 else form
            for slip in (swapped, doubled, dropped):
                if slip not in forms and slip not in ENGLISH.split():
                    found.setdefault(slip, form)
    return found


SLIPS = _slips()


def claimed(text: str) -> str:
    """What a caption claims: lower case, single spaces, slips put right; what is denied, or only sounds like it, is not
    there."""
    text = " ".join(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
    text = _WORD.sub(lambda word: SLIPS.get(word[0], word[0]), text)
    text = DENIED.sub(" ", text)
    for pattern, instead in _OTHERWISE:
        text = pattern.sub(instead, text)
    return " ".join(text.split())
