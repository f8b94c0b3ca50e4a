"""A server of streams under load: chunks in time, none lost or repeated, memory flat, places of killed clients free.

    python benchmarks/serve_load.py --sessions 64 --minutes 10
    python benchmarks/serve_load.py --find --sessions 64 --minutes 10 --json load.json
    python benchmarks/serve_load.py --sessions 4 --minutes 0.5 --model FOLDER

Starts `mld serve` as a process (random weights at demo size, or --model), opens so many streams from another one, each
of which shows its frames in real time, changes its words now and then and acknowledges what it has shown. In the middle
a share of the clients is cut off: some come back (`resume`), the others must free their places after the grace. delay:
seconds from when a chunk may be made (its room was acknowledged) to its arrival; a stream is in real time where its
chunks come at least as fast as they are shown (fewer than 1 % late). cores: what server and clients take of the same
processors. memory: of the server, second half of the time, its first fifth against its last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mld.serve.client import Client, Refused

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ("a person walks forward", "someone waves with the right hand", "a man sits down", "she turns left")
GRACE = 5.0  # seconds
AHEAD = 0.2  # seconds that are there before a figure moves


@dataclass
class Seen:
    """What a client saw. delays: seconds per chunk; late: chunks that came after their frames were due; wrong: numbers
    that came twice or not at all."""

    delays: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    chunks: int = 0
    late: int = 0
    wrong: int = 0
    resumed: int = 0
    problem: str = ""


class Watcher:
    """A client that shows frames in real time. cut_at: seconds after which its connection is cut; come_back: whether it
    goes on then, or is as good as killed."""

    def __init__(self, client: Client, number: int, cut_at: float | None, come_back: bool) -> None:
        self.seen, self._cut_at, self._come_back = Seen(), cut_at, come_back
        self._words, self._room = random.Random(number), dict[int, float]()
        self._stream = client.stream(TEXTS[number % 4], acknowledge=False, seed=number)
        self._acknowledging: set[asyncio.Task] = set()

    async def run(self, seconds: float) -> None:
        try:
            await self._watch(seconds)
        except Refused as error:
            self.seen.problem = str(error)
        for task in self._acknowledging:
            task.cancel()

    async def _watch(self, seconds: float) -> None:
        seen, stream, began = self.seen, self._stream, time.monotonic()
        await stream.__aenter__()
        due, shown = 0, None
        while time.monotonic() < began + seconds:
            chunk = await stream.__anext__()
            now, start = time.monotonic(), chunk.first_frame / chunk.fps
            if shown is None:
                seen.firsts.append(now - began)
                shown = now + AHEAD
            seen.wrong += chunk.sequence != due
            due, seen.chunks = chunk.sequence + 1, seen.chunks + 1
            if chunk.sequence in self._room:
                seen.delays.append(now - self._room.pop(chunk.sequence))
            if now > shown + start:
                seen.late, shown = seen.late + 1, now - start  # the figure waited
            length = len(chunk.positions) / chunk.fps
            self._later(chunk.sequence, shown + start + length, round(stream.about["lead_seconds"] / length))
            if self._words.random() < 0.02:
                await stream.say(self._words.choice(TEXTS))
            if self._cut_at is not None and now - began > self._cut_at:
                self._cut_at = None
                stream._socket.transport.abort()
                self._room.clear()
                if not self._come_back:
                    return
        seen.resumed = stream.resumed
        await stream.__aexit__()

    def _later(self, sequence: int, at: float, lead: int) -> None:
        """Acknowledge a chunk when it was shown; then there is room for the one that is `lead` further on."""

        async def acknowledge() -> None:
            await asyncio.sleep(at - time.monotonic())
            self._room[sequence + lead] = time.monotonic()
            await self._stream.acknowledge(sequence)

        task = asyncio.create_task(acknowledge())
        self._acknowledging.add(task)
        task.add_done_callback(self._acknowledging.discard)


async def load(address: str, pid: int, sessions: int, seconds: float, cut: int) -> dict[str, Any]:
    """All clients for the whole time, memory and places of the server looked at on the way. cut: so many are killed
    after 40 % of the time, and as many are cut off and come back."""
    at, client = seconds * 0.4, Client(address)
    watchers = [
        Watcher(client, number, at if number < 2 * cut else None, number >= cut) for number in range(sessions)
    ]
    began, used, own = time.monotonic(), processor(pid), time.process_time()
    tasks, every = [], seconds / 10 / max(1, sessions)
    for watcher in watchers:
        tasks.append(asyncio.create_task(watcher.run(seconds)))
        await asyncio.sleep(min(0.05, every))
    memory, places = [], []
    while any(not task.done() for task in tasks) and time.monotonic() - began < seconds + 30:
        await asyncio.sleep(1.0)
        now = time.monotonic() - began
        memory.append((now, resident(pid)))
        if cut:
            places.append((now, (await asyncio.to_thread(health, address))["streams"]))
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
    wall = time.monotonic() - began
    taken = {"server": processor(pid) - used, "clients": time.process_time() - own}
    cores = {name: round(seconds / wall, 2) for name, seconds in taken.items()}
    settled = [size for then, size in memory if then > seconds / 2] or [size for _, size in memory]
    part = max(1, len(settled) // 5)
    first, last = statistics.median(settled[:part]), statistics.median(settled[-part:])
    found = summary([watcher.seen for watcher in watchers])
    found |= {"sessions": sessions, "seconds": round(wall), "cores": cores, "load": round(os.getloadavg()[0], 1)}
    found |= {"memory_mb": [round(size / 1e6, 1) for size in (first, last)],
              "memory_growth_percent": round(100 * (last / first - 1), 2)}  # fmt: skip
    if cut:
        freed = [then for then, count in places if then > at and count <= sessions - cut]
        after = round(freed[0] - at, 1) if freed else None
        found["killed"] = {"clients": cut, "at": round(at, 1), "places_free_after": after}
        await asyncio.sleep(GRACE + 2)
    found["places_in_the_end"] = (await asyncio.to_thread(health, address))["streams"]
    return found


def listen(*arguments: Any) -> dict[str, Any]:
    """`load` in a process of its own, so that what clients need is told apart from what the server needs."""
    return asyncio.run(load(*arguments))


def apart(*arguments: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(listen, *arguments).result()


def most_sessions(address: str, pid: int, most: int, seconds: float) -> tuple[int, list[dict[str, Any]]]:
    """The most sessions that hold real time, by doubling and then halving the gap to a quarter, and what was tried."""
    good, bad, tried, count = 0, most + 1, list[dict[str, Any]](), min(4, most)
    while good < count < bad:
        found = apart(address, pid, count, seconds, 0)
        tried.append({name: found[name] for name in ("sessions", "delay", "late_share", "real_time", "cores")})
        print(json.dumps(tried[-1]), file=sys.stderr, flush=True)
        good, bad = (count, bad) if found["real_time"] else (good, count)
        if bad > most:
            count = min(2 * count, most)
        else:
            count = (good + bad) // 2 if bad - good > max(1, good // 4) else good
    return good, tried


def summary(seen: Sequence[Seen]) -> dict[str, Any]:
    chunks = sum(one.chunks for one in seen)
    late = sum(one.late for one in seen) / max(1, chunks)
    return {
        "chunks": chunks, "delay": percentiles([delay for one in seen for delay in one.delays]),
        "first_frames": percentiles([seconds for one in seen for seconds in one.firsts]),
        "late_share": round(late, 5), "real_time": late < 0.01,
        "lost_or_repeated": sum(one.wrong for one in seen), "resumed": sum(one.resumed for one in seen),
        "problems": sorted({one.problem for one in seen if one.problem}),
    }  # fmt: skip


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{share}_ms": round(1000 * ordered[round(share / 100 * (len(ordered) - 1))], 1) for share in (50, 95, 99)
            } if ordered else {}  # fmt: skip


def resident(pid: int) -> int:
    """Bytes of memory of a process; 0 where the system does not say."""
    file = Path(f"/proc/{pid}/statm")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if file.is_file() else 0


def processor(pid: int) -> float:
    """Seconds of a processor that a process has had; 0 where the system does not say."""
    file = Path(f"/proc/{pid}/stat")
    if not file.is_file():
        return 0.0
    numbers = file.read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def health(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/v1/health", timeout=60) as answer:
        return json.load(answer)


def untrained_folder(size: str, steps: int, folder: Path) -> Path:
    """A model folder with random weights."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.streaming import untrained
    from mld.checkpoint import save_model

    return save_model(untrained(size, steps), folder / "untrained", {})


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--sessions", type=int, default=16, help="with --find: the most that are tried")
    command.add_argument("--minutes", type=float, default=2.0, help="0: nothing beside --find")
    command.add_argument("--find", action="store_true", help="first find the most sessions that hold real time")
    command.add_argument("--probe", type=float, default=20.0, help="seconds of each try of --find (default: 20)")
    what = "share of the clients that is killed in the middle; as many are cut off and come back (default: 0.1)"
    command.add_argument("--cut", type=float, default=0.1, help=what)
    command.add_argument("--size", choices=("demo", "published"), default="demo")
    command.add_argument("--steps", type=int, default=10, help="denoising steps of random weights")
    command.add_argument("--model", metavar="DIR", help="a model folder in place of random weights")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--lead", type=float, default=1.0)
    command.add_argument("--json", metavar="FILE", help="where the figures are written")
    options = command.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(untrained_folder(options.size, options.steps, Path(folder)))
        arguments = ["--model", model, "--port", "0", "--rate", "0", "--sessions", str(options.sessions + 8), "--grace",
                     str(GRACE), "--lead", str(options.lead)]  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "serve.py", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
        )  # fmt: skip
        try:
            found = re.search(r"http://[\d.:]+", process.stdout.readline())
            if found is None:
                print("error: the server did not start", file=sys.stderr)
                return 2
            figures = measured(found[0], process.pid, options)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    print(json.dumps(figures, indent=2))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    run = figures.get("run")
    good = run is None or not (run["lost_or_repeated"] or run["problems"] or run["places_in_the_end"])
    return 0 if good else 1


def measured(address: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "size": options.model or options.size, "steps": None if options.model else options.steps,
        "threads": options.threads, "lead": options.lead,
        "machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(),
    }  # fmt: skip
    sessions = options.sessions
    if options.find:
        sessions, figures["tried"] = most_sessions(address, pid, options.sessions, options.probe)
        figures["most_in_real_time"] = sessions
    if options.minutes and sessions:
        figures["run"] = apart(address, pid, sessions, options.minutes * 60, round(sessions * options.cut))
    return figures


if __name__ == "__main__":
    sys.exit(main())
