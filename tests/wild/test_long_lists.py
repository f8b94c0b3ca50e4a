"""Lists of a thousand requests of which a tenth is bad, through the command: a line for each bad one, the rest done."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mld.errors import LONGEST
from tests.commands.conftest import ROOT, command, model_folder  # noqa: F401 - a fixture
from tests.walking import walker

BAD = [
    b"a person walks#" + b"7" * 400, b"a person walks#inf", b"a person walks#nan", b"a person walks#1e999",
    b"a person walks#-5", b"a person walks#0", b"a person walks#60fps", b"a person walks#", b"a person walks#20#30",
    b"a person walks#" + b"x" * 5000 + b".npy", b"a person walks#~nobody/walk.npy", b"a person walks#gone.npy",
    b"a person walks#99999999999", b"a person \0 walks", b"a person \x1b[31m walks", b"\xff\xfe\xfd walks", b"#5",
    b"a person walks#/dev/zero.npy", b"a person walks#folder.npy", b"a person walks#pipe.npy", b"<motion>",
    b"a person walks#broken.npy", b"a person <Motion_Placeholder_s9>#walk.npy", b"x" * 20_000, b"y " * 100_000,
    b"a person walks#huge.npy", b"a person walks#loop.npy", b"a person walks#\xed\xa0\x80.npy", b"a#" * 3000 + b"b.npy",
]  # fmt: skip
GOOD = [b"a person walks#8", "a person\u2028walks#8".encode(), b"a person\x0cwalks#8", b"someone jumps#0.4s",
        "ein Mensch läuft#8".encode(), b'"a quoted line"#8', b"a person walks # 8",
        b"a person walks#walk.npy"]  # fmt: skip


# Runs `demo` and ends with a line that tells its largest memory, in KB. (On Linux `ru_maxrss` would be at least what
# the tests themselves have: it begins with that of the process which starts another.)
PEAK = """
import pathlib, resource, sys
from commands.common import run
from commands.demo import main
code = run(main, sys.argv[1:])
status = pathlib.Path("/proc/self/status")
lines = status.read_text().split("\\n") if status.exists() else []
own = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
print("peak", own or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, code)
sys.exit(code)
"""


def write_motions(folder: Path) -> None:
    import os

    np.save(folder / "walk.npy", walker(8).numpy())
    (folder / "broken.npy").write_bytes(b"not an array")
    (folder / "folder.npy").mkdir()
    os.mkfifo(folder / "pipe.npy")
    (folder / "loop.npy").symlink_to("loop.npy")
    with open(folder / "huge.npy", "wb") as stream:
        stream.truncate(3_000_000_000)


def test_a_thousand_lines_with_a_tenth_bad(model_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    write_motions(tmp_path)
    lines = [GOOD[number % len(GOOD)] for number in range(1000)]
    bad = range(3, 1000, 10)
    for count, number in enumerate(bad):
        lines[number] = BAD[count % len(BAD)]
    comments = [number for number in bad if lines[number].startswith(b"#")]
    (tmp_path / "list.txt").write_bytes(b"\n".join(lines))
    begin = time.monotonic()
    done = command("-c", PEAK, "--model", model_folder, "--example", tmp_path / "list.txt", "--out", tmp_path / "out",
                   "--batch-size", 100, "--format", "npy", timeout=600)  # fmt: skip
    peak = int(done.stdout.strip().split("\n")[-1].split()[1])
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    said = [line.rsplit("\r", 1)[-1] for line in done.stderr.split("\n") if "list.txt:" in line]
    wrong = sorted(set(bad) - set(comments))
    assert [int(line.split("list.txt:")[1].split(":")[0]) - 1 for line in said] == wrong
    for line in said:
        assert line.isprintable() and len(line.replace(str(tmp_path), "")) <= LONGEST, line[:999]
    entries = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))["results"]
    good = [entry for entry in entries if "error" not in entry]
    assert [entry["line"] - 1 for entry in good] == [number for number in range(1000) if number not in bad]
    assert len(entries) - len(good) == len(wrong)
    assert all((tmp_path / "out" / entry["files"][-1]).stat().st_size > 0 for entry in good)
    assert f"{len(good)} done, {len(wrong)} failed" in done.stdout
    assert time.monotonic() - begin < 300 and peak < 1_500_000, (time.monotonic() - begin, peak)


def test_five_megabytes_in_one_line_cost_little(model_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    """More memory than the same command takes without that line: less than 60 MB."""
    (tmp_path / "long.txt").write_bytes(b"a person walks#8\n" + b"walk " * 1_000_000 + b"\na person runs#8\n")
    (tmp_path / "short.txt").write_bytes(b"a person walks#8\na person runs#8\n")
    peaks = {}
    for name in ("short", "long"):
        arguments = ["--model", model_folder, "--example", tmp_path / f"{name}.txt", "--out", tmp_path / name]
        done = subprocess.run([sys.executable, "-c", PEAK, *map(str, arguments)], cwd=ROOT, capture_output=True,
                              text=True, timeout=300)  # fmt: skip
        _, peak, code = done.stdout.strip().split("\n")[-1].split()
        peaks[name] = int(peak)
        assert (int(code), "2 done" in done.stdout) == (1 if name == "long" else 0, True)
        assert all(len(line) <= LONGEST + len(str(tmp_path)) for line in done.stderr.split("\n") if "\r" not in line)
    assert peaks["long"] - peaks["short"] < 60_000, peaks


@pytest.mark.parametrize("option, value", [
    ("--num-samples", 10**9), ("--num-samples", -1), ("--num-samples", 10**400), ("--batch-size", 0), ("--fps", "nan"),
    ("--batch-size", 10**12), ("--seed", 2**64), ("--seed", -(2**63) - 1), ("--seed", "7" * 4000), ("--fps", 1e9),
    ("--seconds", "inf"), ("--seconds", "-1"), ("--out", "\0"), ("--out", "x" * 5000),
    ("--seconds", "1e300"), ("--seconds", "1e-300"), ("--task", "t2m\0"), ("--names", "plain\0"),
    ("--example", "x" * 5000), ("--example", "/dev/zero"), ("--example", "/tmp"), ("--model", "/dev/zero"),
    ("--model", "~nobody/model"), ("--model", "\0"), ("--model", "x" * 5000), ("--format", "x" * 5000),
    ("--device", "x" * 5000), ("--text", "y" * 20_000), ("--out", "/dev/null"),
])  # fmt: skip
def test_options_of_any_kind_are_one_line(model_folder, tmp_path, monkeypatch, capsys, option, value) -> None:  # noqa: F811
    from commands.common import run
    from commands.demo import main

    monkeypatch.chdir(tmp_path)
    arguments = {"--model": model_folder, "--text": "a person walks#8", option: value}
    if option == "--example":
        del arguments["--text"]
    begin = time.monotonic()
    try:
        code = run(main, [word for pair in arguments.items() for word in map(str, pair)])
    except SystemExit as left:  # argparse
        code = left.code
    said = capsys.readouterr()
    assert code in (1, 2) and "Traceback" not in said.err
    assert all(len(line) <= LONGEST + 60 for line in said.err.split("\n") if "\r" not in line), said.err[:2000]
    assert time.monotonic() - begin < 30
