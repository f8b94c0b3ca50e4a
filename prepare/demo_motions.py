"""`python -m prepare.demo_motions`: makes `demos/motions/*.npy`, the motions that the demo request files refer to.

They are performances of the procedural set with fixed seeds, so that the repository holds no recorded motion.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, parser, run

SEED, SPLIT, SEARCHED = 20, "demos", 2000
LONGEST = 121  # frames
# file name: label of the procedural clip, seconds kept (None: all)
MOTIONS = {
    "walk": ("walk normal", None),
    "circle": ("walk circle left", None),
    "jump": ("jump up", None),
    "wave": ("wave right", None),
    "kick": ("kick right", None),
    "squat": ("squat", None),
    "walk_start": ("walk fast", 2.0),
    "run_start": ("run", 1.6),
    "side_step_start": ("side step left", 2.0),
}


def main(arguments: Sequence[str]) -> int:
    command = parser("prepare.demo_motions", "Make the motion files of the demos from the procedural set.")
    command.add_argument("--out", default="demos/motions", metavar="DIR", help="default: demos/motions")
    folder = Path(command.parse_args(arguments).out)
    for name, frames in make(folder).items():
        print(f"{folder / name}.npy: {frames} frames")
    return EXIT_OK


def make(folder: Path) -> dict[str, int]:
    """Write the files; frames by name."""
    from mld.data.sources.procedural import ProceduralSource
    from mld.errors import DataError
    from mld.motion.motion import Motion

    source = ProceduralSource(SEARCHED, SEED, split=SPLIT)
    written = {}
    for name, (label, seconds) in MOTIONS.items():
        fits = (i for i, script in enumerate(source.scripts) if script.label == label and script.num_frames <= LONGEST)
        index = next(fits, None)
        if index is None:
            raise DataError(f"none of {SEARCHED} procedural clips is a '{label}'; search more or change the label")
        motion = Motion(source.joints(index), source.fps)
        motion = motion if seconds is None else motion.crop(0, round(seconds * source.fps))
        motion.save(folder / f"{name}.npy")
        written[name] = motion.num_frames
    return written


if __name__ == "__main__":
    sys.exit(run(main))
