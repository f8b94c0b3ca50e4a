"""How often real clips show the facts that their labels say: a table of hit rates, misses named with `--misses`.

    python benchmarks/probe_facts.py ../shared/data/cmu-mocap-text ../shared/data/snu-mocap-text

A folder has trials.npz (joints) and clips.jsonl (label, trial, start, end). Labels are those of whole trials, so that a
window of one need not show it; such clips are to be looked at, not fitted to.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mld.evaluation.suites.probes.predicates import shows
from mld.motion.facts import Facts

LABELS = {  # label (regular expression): fact
    r"walk$|slow walk|QuickWalk|WalkStraight|SadWalk|walk straight": "goes",
    r"^[Rr]un$|run/jog$|^run/jog, |Run Left|Run Right|light run|^jog": "runs",
    r"90-degree left turn|normal left (90|180)|veer left": "curve_left",
    r"90-degree right turn|normal right (90|180)|veer right": "curve_right",
    r"walk backward": "backward", r"^[Jj]ump$|forward jump|high jump|hop on both": "jumps",
    r"[Kk]ick|geri": "kicks", r"boxing: (jab|straight|onetwo|hook|upper)|punch|Oiduki|^boxing$": "punches",
    r"jacks": "jumping_jacks", r"sit and stand|sit down": "sits", r"^squat": "squats",
    r"armcircle|rotate arms": "circles_arms", r"deposit|pick up": "picks_up", r"lie down": "lies",
    r"balance on one leg": "one_leg", r"kneeelbow|elbow to knee": "raises_knee", r"grab high": "raises_arm",
    r"stand idle": "stands_still", r"turn in place": "turns", r"throw": "throws",
}  # fmt: skip


def clips(folder: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Id, label and joints (T, 22, 3) at 20 fps of every clip whose text is not marked as weak."""
    trials = np.load(folder / "trials.npz")
    for line in (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        if clip.get("quality") != "weak-text":
            yield clip["id"], clip["label"], trials[clip["trial"]][clip["start"]:clip["end"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--misses", action="store_true", help="name the clips that do not show the fact")
    args = parser.parse_args()
    total: Counter[str] = Counter()
    missed: dict[str, list[str]] = {fact: [] for fact in LABELS.values()}
    for folder in args.folders:
        for name, label, joints in clips(folder):
            for pattern, fact in LABELS.items():
                if re.search(pattern, label):
                    total[fact] += 1
                    if not shows(fact, Facts(joints)):
                        missed[fact].append(f"{name} ({label})")
    print(f"{'fact':16s} {'clips':>5s} {'shown':>6s}")
    for fact, names in missed.items():
        if total[fact]:
            print(f"{fact:16s} {total[fact]:5d} {1 - len(names) / total[fact]:6.0%}")
            for name in names if args.misses else ():
                print(f"    {name}")


if __name__ == "__main__":
    main()
