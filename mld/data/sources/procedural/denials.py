"""What does not happen in a clip, as clauses that are true of it: "without turning", "without moving the feet"."""

from __future__ import annotations

from collections.abc import Sequence

from mld.data.sources.procedural.actions import Action

STRAIGHT = frozenset(
    [
        "walk",
        "walk_backward",
        "steps",
        "side_step",
        "run",
        "run_backward",
        "jump_up",
        "jump_forward",
        "jump_backward",
        "jump_sideways",
        "walk_diagonal",
        "sidewalk",
        "hop",
        "march",
        "run_in_place",
    ]
)
ON_THE_SPOT = frozenset(
    [
        "turn",
        "spin",
        "march",
        "run_in_place",
        "jump_up",
        "jumping_jacks",
        "star_jump",
        "tuck_jump",
        "jump_rope",
        "bounce",
    ]
)
GROUNDED = frozenset(
    ["walk", "walk_backward", "walk_turning", "walk_veer", "walk_circle", "walk_back", "turn", "side_step", "steps"]
)
LOW_ARMS = frozenset(
    ["walk", "walk_backward", "walk_turning", "walk_veer", "walk_circle", "walk_back", "turn", "side_step", "steps"]
)

NO_TURN = (
    "without turning",
    "without turning around",
    "without rotating",
    "not turning",
    "always facing the same way",
    "without changing direction",
)
NO_STEP = (
    "without moving the feet",
    "without taking a step",
    "without walking",
    "while standing still",
    "feet planted",
    "without stepping",
    "keeping the feet in place",
    "without moving from the spot",
)
NO_WAY = (
    "without moving forward",
    "without going anywhere",
    "staying in the same place",
    "without leaving the spot",
    "on the same spot",
)
NO_JUMP = ("without jumping", "without running", "never jumping")
NO_ARMS = ("without raising the arms", "with the arms down", "keeping the arms down", "arms hanging down")
NO_WALK = ("without walking away", "without walking", "without leaving the spot")
NO_STOP = ("without stopping", "without pausing", "never stopping")


def true_clauses(actions: Sequence[Action]) -> tuple[str, ...]:
    """The clauses that hold for these actions, done alone or at the same time; none where that is not known."""
    names = {action.name for action in actions}
    legs = {action.name for action in actions if not action.arms}
    if not legs:
        return (*NO_STEP, *NO_STEP, *NO_TURN[:2], *NO_JUMP[:1])
    found: list[str] = []
    if legs <= STRAIGHT:
        found += [*NO_TURN, *NO_TURN]
    if legs <= ON_THE_SPOT:
        found += NO_WAY
    if legs <= GROUNDED:
        found += NO_JUMP
    if legs <= {"run", "run_turning", "run_backward", "run_in_place"}:
        found += ["without jumping", "without walking"]
    if legs <= {"turn", "spin"}:
        found += NO_WALK
    if names <= LOW_ARMS and not any(action.words.get("how") for action in actions):
        found += [*NO_ARMS, *NO_ARMS]
    if len(actions) == 1 and names <= {"walk", "run", "walk_circle", "walk_backward"}:
        found += NO_STOP
    return tuple(found)
