"""Expectations: from YAML to functions of a motion that say in plain lines what it does not show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mld.errors import DataError, nearest, shown
from mld.evaluation.suites.probes.measures import MEASURES
from mld.evaluation.suites.probes.ordering import in_order, together
from mld.evaluation.suites.probes.specs import Range, Spec, read_number, read_range, read_spec
from mld.motion.facts import Event, Facts

Expectation = Callable[[Facts], tuple[str, ...]]  # no lines: it holds
Known = Mapping[str, Expectation]

FORMS = ("did", "never", "count", "order", "while", "more", "down", "any", "all", "not")


def parse(item: Any, known: Known, where: str) -> Expectation:
    """An expectation as a function. known: facts by name. `DataError` naming `where` for what is not understood."""
    if isinstance(item, str):
        if item not in known:
            raise DataError(f"{where}: no fact {shown(item)} in facts.yaml; {nearest(item, known)[:100]}")
        return known[item]
    if not isinstance(item, Mapping) or not item:
        raise DataError(f"{where}: an expectation is a name of a fact or a mapping such as {{did: walk}}, "
                        f"not {shown(item)}")
    form = next((name for name in FORMS if name in item), "")
    if form:
        return _FORMS[form](dict(item), known, where)
    parts = [_measure(name, value, known, where) for name, value in item.items()]
    return lambda facts: tuple(line for part in parts for line in part(facts))


def _measure(name: str, value: Any, known: Known, where: str) -> Expectation:
    if value is True and name in known:
        return known[name]
    if name in known and name not in MEASURES:
        raise DataError(f"{where}: '{name}' is a fact, which has no {shown(value)}; write {name}, or {{not: {name}}}")
    if name not in MEASURES:
        raise DataError(f"{where}: no measure or form {shown(name)}; {nearest(name, (*MEASURES, *FORMS))[:100]}")
    measured, said = MEASURES[name]
    wanted = read_range(value, where)

    def holds(facts: Facts) -> tuple[str, ...]:
        number = measured(facts)
        return () if wanted.holds(number) else (f"{said.format(value=number)}; wanted: {wanted}",)

    return holds


def _did(item: dict[str, Any], known: Known, where: str) -> Expectation:
    spec = read_spec(item, where)

    def holds(facts: Facts) -> tuple[str, ...]:
        if any(spec.fits(event) for event in facts.events):
            return ()
        return (f"it does not {spec}{_instead(spec, facts.events)}",)

    return holds


def _instead(spec: Spec, events: Iterable[Event]) -> str:
    """What comes nearest: the same name with another side or amount."""
    same = [event for event in events if event.name == spec.name]
    if not same:
        return ""
    best = max(same, key=lambda event: abs(event.amount))
    side = f", {best.side}" if best.side else ""
    return f"; it has {spec.name.replace('_', ' ')} {best.amount:.2f}{side} at {best.start:.1f} s, count {best.count}"


def _never(item: dict[str, Any], known: Known, where: str) -> Expectation:
    over = read_number(item.pop("over", -1), f"{where}: over")
    spec = read_spec({"did": item.pop("never"), **item}, where)

    def holds(facts: Facts) -> tuple[str, ...]:
        found = [event for event in facts.events if spec.fits(event) and abs(event.amount) > over]
        if not found:
            return ()
        worst = max(found, key=lambda event: abs(event.amount))
        side = f" ({worst.side})" if worst.side else ""
        name = spec.name.replace("_", " ")
        return (f"it has {name}{side} {worst.amount:.2f} at {worst.start:.1f} s, which it should not",)

    return holds


def _count(item: dict[str, Any], known: Known, where: str) -> Expectation:
    wanted = item.pop("count")
    if not isinstance(wanted, Mapping) or len(wanted) != 1:
        raise DataError(f"{where}: count names one event, such as {{count: {{jump: 3}}}}")
    ((name, number),) = wanted.items()
    spec = read_spec({"did": name, **item}, where)
    allowed = _allowed(str(name), number, where)

    def holds(facts: Facts) -> tuple[str, ...]:
        found = sum(event.count for event in facts.events if spec.fits(event))
        return () if allowed.holds(found) else (f"{spec.name.replace('_', ' ')}: counted {found}; wanted: {allowed}",)

    return holds


def _allowed(name: str, number: Any, where: str) -> Range:
    """The counts that pass: see the head of predicates.py."""
    allowed = read_range(number, where)
    if allowed.high < 0 or (isinstance(number, float) and number % 1):
        raise DataError(f"{where}: {name} is counted in whole numbers from 0 on, not {shown(number)}")
    if isinstance(number, str):
        return allowed
    slack = 0 if number <= 3 else 1
    return Range(number - slack, number + max(slack, 1 if name == "step" else 0))


def _order(item: dict[str, Any], known: Known, where: str) -> Expectation:
    entries = _list("order", item, where)
    if len(entries) < 2:
        raise DataError(f"{where}: order needs a list of two events or more")
    specs = [_alternatives(entry, where) for entry in entries]

    def holds(facts: Facts) -> tuple[str, ...]:
        missing = in_order(specs, facts.events)
        if missing is None:
            return ()
        what = " or ".join(str(spec) for spec in specs[missing])
        return (f"{what}: not there{' after the rest' if missing else ''} (part {missing + 1} of {len(specs)})",)

    return holds


def _while(item: dict[str, Any], known: Known, where: str) -> Expectation:
    entries = _list("while", item, where)
    if len(entries) != 2:
        raise DataError(f"{where}: while needs a list of two events")
    first, second = (_alternatives(entry, where) for entry in entries)

    def holds(facts: Facts) -> tuple[str, ...]:
        if together(first, second, facts.events):
            return ()
        return (f"{first[0]} and {second[0]} are not at the same time",)

    return holds


def _alternatives(entry: Any, where: str) -> list[Spec]:
    if isinstance(entry, list) and entry:
        return [spec for one in entry for spec in _alternatives(one, where)]
    return [read_spec({"did": entry} if isinstance(entry, str) else entry, where)]


def _more(item: dict[str, Any], known: Known, where: str) -> Expectation:
    wanted = _alone("more", item, where)
    if not isinstance(wanted, Mapping) or len(wanted) != 1 or not {"left", "right"} >= set(map(str, wanted.values())):
        raise DataError(f"{where}: more names one event with its side, such as {{more: {{punch: left}}}}")
    ((name, side),) = wanted.items()
    spec, rival = (read_spec({"did": name, "side": s}, where) for s in (side, "right" if side == "left" else "left"))

    def holds(facts: Facts) -> tuple[str, ...]:
        mine, theirs = (sum(e.count for e in facts.events if s.fits(e)) for s in (spec, rival))
        return (
            ()
            if mine > 0 and mine >= 2 * theirs
            else (f"{name}: {mine} with the {side} side, {theirs} with the other",)
        )

    return holds


def _down(item: dict[str, Any], known: Known, where: str) -> Expectation:
    side = _alone("down", item, where)
    if side not in ("left", "right"):
        raise DataError(f"{where}: down is left or right, not {shown(side)}")
    specs = [Spec(name, side=side) for name in ("raise_hand", "arm_out", "arm_front")]

    def holds(facts: Facts) -> tuple[str, ...]:
        up = [event for spec in specs for event in facts.events if spec.fits(event) and event.seconds > 0.4]
        return () if not up else (f"the {side} hand is up as well, from {up[0].start:.1f} to {up[0].end:.1f} s",)

    return holds


def _any(item: dict[str, Any], known: Known, where: str) -> Expectation:
    choices = [parse(one, known, where) for one in _list("any", item, where)]

    def holds(facts: Facts) -> tuple[str, ...]:
        told = [choice(facts) for choice in choices]
        if not all(told):
            return ()
        return (" / ".join(dict.fromkeys(lines[0] for lines in told)),)

    return holds


def _all(item: dict[str, Any], known: Known, where: str) -> Expectation:
    parts = [parse(one, known, where) for one in _list("all", item, where)]
    return lambda facts: tuple(line for part in parts for line in part(facts))


def _not(item: dict[str, Any], known: Known, where: str) -> Expectation:
    denied = _alone("not", item, where)
    inner = parse(denied, known, where)
    said = denied if isinstance(denied, str) else str(denied)
    return lambda facts: () if inner(facts) else (f"it shows what it should not: {said.replace('_', ' ')}",)


def _alone(form: str, item: Mapping[str, Any], where: str) -> Any:
    """What a form is given; beside it there is nothing, as nobody would look at it."""
    others = [name for name in item if name != form]
    if others:
        raise DataError(f"{where}: {form} stands alone, {shown(others[0])} is an expectation of its own; write a list")
    return item[form]


def _list(form: str, item: Mapping[str, Any], where: str) -> list[Any]:
    content = _alone(form, item, where)
    if not isinstance(content, list) or not content:
        raise DataError(f"{where}: {form} needs a list, such as {{{form}: [...]}}, not {shown(content)}")
    return content


_FORMS: dict[str, Callable[[dict[str, Any], Known, str], Expectation]] = {
    "did": _did, "never": _never, "count": _count, "order": _order, "while": _while, "more": _more, "down": _down,
    "any": _any, "all": _all, "not": _not,
}  # fmt: skip
