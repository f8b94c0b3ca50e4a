"""Damaged lines, configs, model folders, data folders and results: each is used, or ends in an error of the product.

Anything else fails the test: another exception, a message that is long or of several lines, a hang. `MLD_FUZZ_EXAMPLES`
sets how many of each kind are tried.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.motion.fuzz.guard import EXAMPLES
from tests.prepare.test_leaderboard import results as good_results
from tests.wild.test_attacks import LONGEST, clip, clips, config, lines, model, results

ROOT = Path(__file__).parents[2]
WORDS = ["Infinity", "-Infinity", "NaN", "1e999", "-1", "0", "9" * 400, "9223372036854775808", "null", "[]", "{}",
         "true", "x" * 5000, "\0", "\u2028", "\x0c", "${", "${a", "*a", "&a", "!!python/name:os.system", "!!binary x",
         "[" * 200, '"', "'", "#", "#-5", "~user/x.npy", "../../etc/passwd", "1_0", "\ud7ff", "2147483648", "100000",
         ": ", "-", "?", "<motion>", "\\", "''", "0x10", "1:2:3", "2024-01-01", "<<: 1", "\t", "\n", "%"]  # fmt: skip
TEXTS = {
    "lines": (lines, ["a person walks#20\na person jumps#6s\nwalk.npy#8\nSay <motion>#walk.npy\n"
                      "a#b/NOUN c/VERB#0.0#0.0\nMake <Frame_Placeholder>: <Caption_Placeholder>#a man runs#60\n"]),
    "config": (config, [path.read_text() for path in sorted((ROOT / "configs").glob("*/*.yaml"))]),
    "model": (model, [path.read_text() for path in sorted((ROOT / "mld" / "assets").rglob("config.yaml"))]),
    "clips": (clips, ["".join(json.dumps({
        "id": f"c{i}", "trial": "t0", "start": 0, "end": 40 + i, "captions": ["a person walks"], "label": "walk",
        "quality": "good"}) + "\n" for i in range(3))]),
    "results": (results, [json.dumps(good_results("a", 0.5))]),
    "split.s": (clip, ["a\nb\n"]),
}  # fmt: skip


def damaged(text: str, chance: random.Random) -> bytes:
    """A text with words put in the place of others, cut off, repeated, or with bytes changed."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        start = chance.randrange(len(text) + 1)
        if chance.random() < 0.7:  # at the begin of a word
            marks = [i + 1 for i, letter in enumerate(text) if letter in " :,\n#[{\""]
            start = chance.choice(marks) if marks else start
            end = next((i for i in range(start, len(text)) if text[i] in " :,\n#]}\""), len(text))
        else:
            end = min(len(text), start + chance.choice([0, 1, 5, 50]))
        elsewhere = chance.randrange(len(text) + 1)
        new = chance.choice([chance.choice(WORDS), "", text[start:end] * 2, text[elsewhere : elsewhere + 40]])
        text = text[:start] + new + text[end:]
    content = bytearray(text.encode())
    if chance.random() < 0.2:
        content = content[: chance.randrange(len(content) + 1)]
    if content and chance.random() < 0.2:
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


@pytest.mark.parametrize("kind", TEXTS)
def test_fuzz(kind: str, tmp_path: Path, capsys) -> None:
    use, seeds = TEXTS[kind]
    chance, counts = random.Random(EXAMPLES), Counter()
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    place = tmp_path / {"config": "configs/motiongpt/run.yaml"}.get(kind, kind)
    for number in range(EXAMPLES):
        folder = tmp_path / "one"
        folder.mkdir()
        content = damaged(chance.choice(seeds), chance)
        place.write_bytes(content)
        begin = time.process_time()
        try:
            said = use(place, folder)
        except BaseException as error:
            raise AssertionError(f"example {number}: {content[:2000]!r}") from error
        assert time.process_time() - begin < 10, content[:2000]
        for line in said + capsys.readouterr().err.splitlines():
            assert line.isprintable() and len(line) <= LONGEST, (line, content[:2000])
        counts["refused" if said else "used"] += 1
        shutil.rmtree(folder)
    assert counts["refused"], "nothing was damaged"
