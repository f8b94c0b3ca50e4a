"""A stream of `mld serve` as lines of numbers in real time: over UDP, into a CSV file, or both. No ROS needed.

    python clients/udp_bridge.py "a person walks" --udp 127.0.0.1:9000 --joints pelvis l_wrist r_wrist
    python clients/udp_bridge.py "a person waves" --csv wave.csv --seconds 10

A line is `frame,seconds,x,y,z,...`: positions of the joints in metres, y up, or with --rotations the root's position
and quaternions x y z w of the joints relative to their parents. A UDP packet is one line; names are in the CSV's first.
Lines that come on standard input are new words.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from mld.errors import MldError, RequestError
from mld.serve.client import Client
from mld.serve.protocol import Frames

AHEAD = 0.3  # seconds that are there before the first frame is sent


def header(about: dict[str, Any], chosen: list[int], rotations: bool) -> list[str]:
    """Names of the columns."""
    names = [about["joints"][joint] for joint in chosen]
    if rotations:
        return ["frame", "seconds", "x", "y", "z", *(f"{name}.{part}" for name in names for part in "xyzw")]
    return ["frame", "seconds", *(f"{name}.{part}" for name in names for part in "xyz")]


def rows(chunk: Frames, chosen: list[int]) -> Iterator[list[float]]:
    """Frame number, seconds and numbers of each frame."""
    for i in range(len(chunk.positions)):
        frame = chunk.first_frame + i
        numbers = chunk.positions[i][chosen] if chunk.rotations is None else chunk.positions[i]
        more = [] if chunk.rotations is None else [chunk.rotations[i][chosen]]
        yield [frame, round(frame / chunk.fps, 4), *np.round(np.concatenate([numbers, *more], axis=None), 5).tolist()]


def words(stream, loop: asyncio.AbstractEventLoop) -> None:
    """New words from standard input, in a thread that ends with the program."""
    for line in sys.stdin:
        if line.strip():
            asyncio.run_coroutine_threadsafe(stream.say(line.strip()), loop)


async def bridge(options: argparse.Namespace) -> int:
    data = "rotations" if options.rotations else "joints"
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host, _, port = (options.udp or "").rpartition(":")
    token = os.environ.get("MLD_TOKEN", "")
    sent = 0
    with contextlib.ExitStack() as files, out:
        table = csv.writer(files.enter_context(open(options.csv, "w", newline=""))) if options.csv else None
        asked = {"seed": options.seed, "data": data, "seconds": options.seconds}
        async with Client(options.address, token).stream(options.text, **asked) as stream:
            unknown = sorted(set(options.joints) - set(stream.about["joints"]))
            if unknown:
                raise RequestError(f"no joint '{unknown[0]}'; known: {', '.join(stream.about['joints'])}")
            names = options.joints or stream.about["joints"]
            chosen = [stream.about["joints"].index(name) for name in names]
            if table:
                table.writerow(header(stream.about, chosen, options.rotations))
            if options.listen:
                threading.Thread(target=words, args=(stream, asyncio.get_running_loop()), daemon=True).start()
            began = time.monotonic() + AHEAD
            async for chunk in stream:
                for row in rows(chunk, chosen):
                    await asyncio.sleep(began + row[1] - time.monotonic())
                    if table:
                        table.writerow(row)
                    if options.udp:
                        out.sendto(",".join(f"{number:g}" for number in row).encode(), (host, int(port)))
                    sent += 1
    return sent


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("text", help="what happens first")
    command.add_argument("--address", default="http://127.0.0.1:8700", help="of the server; a token is in $MLD_TOKEN")
    command.add_argument("--udp", metavar="HOST:PORT", help="where lines are sent")
    command.add_argument("--csv", metavar="FILE", help="where lines are written")
    command.add_argument("--joints", nargs="+", default=[], help="names (default: all)")
    command.add_argument("--rotations", action="store_true", help="root and quaternions in place of positions")
    command.add_argument("--listen", action="store_true", help="lines of standard input are new words")
    command.add_argument("--seconds", type=float, help="the length (default: until Ctrl-C)")
    command.add_argument("--seed", type=int, default=0)
    options = command.parse_args()
    try:
        print(f"{asyncio.run(bridge(options))} frames sent")
    except MldError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
