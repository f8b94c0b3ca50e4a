"""How often made-up motions that do what a probe says pass it, and how often others show a fact of `facts.yaml`.

    python benchmarks/probe_facts_made_up.py                      # 40 performances of every probe (8 minutes of a core)
    python benchmarks/probe_facts_made_up.py --ids walk kick_left --misses
    python benchmarks/probe_facts_made_up.py --worse              # feet slide, joints jitter, other timing and size
    python benchmarks/probe_facts_made_up.py --others             # facts on clips of all labels: what fires where

Motions go through the 263 columns of HumanML3D and back, as those of a model do. Which performance does what a probe
says stands in probe_performances.yaml.
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mld.data.sources.joints_captions import encode_clips
from mld.data.sources.procedural.actions import Action, registered
from mld.data.sources.procedural.script import perform
from mld.data.sources.procedural.stage import FPS
from mld.data.sources.procedural.wide import LONGEST, script_of
from mld.evaluation.suites.probes.predicates import check, named_facts, read_probes, shows
from mld.motion.facts import Facts
from mld.motion.representations.registry import get_representation
from mld.yaml_text import read_yaml

TABLE = Path(__file__).with_name("probe_performances.yaml")
_PART = re.compile(r"\s*(\w+)(?:\[(.*?)\])?\s*")
_WORD = re.compile(r"(\w+)=(.*?)(?=\s+\w+=|$)")


def drawn(part: str, rng: np.random.Generator) -> Action:
    """An action that is drawn until its words are those asked for."""
    match = _PART.fullmatch(part)
    if match is None or match[1] not in registered(wide=True):
        raise SystemExit(f"{TABLE.name}: no performance '{part}'")
    wanted = {name: set(values.split("|")) for name, values in _WORD.findall(match[2] or "")}
    for _ in range(2000):
        action = registered(wide=True)[match[1]].factory(rng)
        words = {**action.words, "label": action.label}
        if all(words.get(name) in values for name, values in wanted.items()):
            return action
    raise SystemExit(f"{TABLE.name}: '{part}' is never drawn")


def made(spec: str, rng: np.random.Generator) -> np.ndarray:
    """Joints (T, 22, 3) of one performance, drawn until it takes less than 10 s."""
    parts = re.split(r" [>+] ", spec)
    join = "while" if " + " in spec else ("one", "then", "three")[len(parts) - 1]
    for _ in range(300):
        actions = tuple(drawn(part, rng) for part in parts)
        before, after = (float(rng.uniform(0.1, 0.5)) for _ in range(2))
        seconds = actions[0].duration if join == "while" else sum(action.duration for action in actions)
        inside = join != "while" or actions[1].duration + 0.3 <= seconds
        if inside and seconds <= LONGEST - before - after:
            return perform(script_of(rng, join, actions, before, after)).joints
    raise SystemExit(f"{TABLE.name}: '{spec}' does not fit into a clip")


def returned(clips: list[np.ndarray]) -> list[np.ndarray]:
    """Clips (T, 22, 3) through the 263 columns and back."""
    columns = get_representation("humanml3d")
    return [columns.decode(rows).joints.numpy() for rows in encode_clips(clips, columns, FPS)]


def worse(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a model might have it: slides at 0.1 m/s, jitters (8 mm over 0.2 s and 3 mm from frame to frame), is 5 %
    faster or slower, of another size, 3 cm over or under the floor."""
    frames = len(joints)
    way, pace = rng.uniform(0, 2 * np.pi), rng.choice([0.95, 1.05])
    times = np.clip(np.arange(round(frames / pace)) * pace, 0, frames - 1)
    low = np.minimum(times.astype(int), frames - 2)
    share = (times - low)[:, None, None]
    joints = joints[low] * (1 - share) + joints[low + 1] * share
    slow = gaussian_filter1d(rng.normal(0, 1, joints.shape), 4, axis=0)
    slow *= 0.008 / slow.std()
    drift = 0.1 / FPS * np.arange(len(joints))[:, None, None] * [np.cos(way), 0.0, np.sin(way)]
    moved = joints + slow + rng.normal(0, 0.003, joints.shape) + drift
    return rng.uniform(0.85, 1.15) * moved + [0.0, rng.uniform(-0.03, 0.03), 0.0]


def positives(ids: list[str], count: int, noisy: bool) -> Iterator[tuple[str, str, int, list[str]]]:
    """Id, performance, how many were made, and a line for each that failed."""
    probes = {probe.id: probe for probe in read_probes()}
    table = read_yaml(TABLE.read_bytes())
    for name in ids or table:
        specs = table[name] if isinstance(table[name], list) else [table[name]]
        for spec in specs:
            rng = np.random.default_rng([14, zlib.crc32(f"{name} {spec}".encode())])
            clips = returned([made(spec, rng) for _ in range(count)])
            if noisy:
                clips = [worse(clip, rng) for clip in clips]
            verdicts = [check(probes[name], clip, FPS) for clip in clips]
            yield name, spec, count, [f"{k}: {'; '.join(v.reasons)}" for k, v in enumerate(verdicts) if not v.passed]


def others(count: int) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """For every fact: clips of each action, and those that show it."""
    found: dict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    for name in registered(wide=True):
        rng = np.random.default_rng([15, zlib.crc32(name.encode())])
        for clip in returned([made(name, rng) for _ in range(count)]):
            facts = Facts(clip)
            for fact in named_facts():
                found[fact][0][name] += 1
                found[fact][1][name] += shows(fact, facts)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", nargs="*", default=[], help="probes; all without it")
    parser.add_argument("--count", type=int, default=40, help="performances of each line")
    parser.add_argument("--misses", action="store_true", help="say what failed")
    parser.add_argument("--worse", action="store_true", help="as a poor model would have them")
    parser.add_argument("--others", action="store_true", help="facts on clips of all labels")
    args = parser.parse_args()
    if args.others:
        for fact, (total, shown) in others(args.count).items():
            most = [f"{name} {n / total[name]:.0%}" for name, n in shown.most_common(9) if n]
            print(f"{fact:18s} {sum(shown.values()) / sum(total.values()):5.1%}  {', '.join(most)}", flush=True)
        return
    print(f"{'probe':18s} {'passed':>6s}")
    for name, spec, count, missed in positives(args.ids, args.count, args.worse):
        print(f"{name:18s} {1 - len(missed) / count:6.0%}  {spec}", flush=True)
        for line in missed if args.misses else ():
            print(f"    {line}")


if __name__ == "__main__":
    main()
