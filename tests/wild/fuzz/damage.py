"""What goes wrong with a file: its words and bytes, the description before its numbers, and what is in its place.

Everything follows from the `random.Random` that is given, so a case can be had again by its number.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import struct
import zipfile
from pathlib import Path

WORDS = ["Infinity", "-Infinity", "NaN", "1e999", "-1", "0", "1", "7" * 400, "9223372036854775808", "null", "[]", "{}",
         "true", "x" * 5000, "\0", "\u2028", "\x0c", "${", "${a", "${output}${output}", "*a", "&a", "\ud7ff", "%", "-",
         "!!python/name:os.system", "!!binary x", "[" * 200, '"', "'", "#", "#-5", "#1e2", "#inf", "~user/x.npy", "''",
         "../../etc/passwd", "1_0", "2147483648", "100000", "1e30", ": ", "?", "<motion>", "\\", "0x10", "1:2:3", "\t",
         "2024-01-01", "<<: 1", "\n", "'O'", "'<f8'", "'<U9'", "float64", "BF16", "I64", "trust"]  # fmt: skip
NUMBERS = [0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
HUGE = 3_000_000_000  # bytes of a file without content
IN_ITS_PLACE = ("nothing", "empty", "folder", "dangling", "loop", "zeros", "pipe", "socket", "huge", "other")


def damaged_text(text: str, chance: random.Random) -> bytes:
    """A text with words put in the place of others, cut off, repeated, or with bytes changed."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        start = chance.randrange(len(text) + 1)
        if chance.random() < 0.7:  # at the begin of a word
            marks = [i + 1 for i, letter in enumerate(text) if letter in ' :,\n#[{"']
            start = chance.choice(marks) if marks else start
            end = next((i for i in range(start, len(text)) if text[i] in ' :,\n#]}"'), len(text))
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


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """Cut off, shortened, repeated, overwritten or grown, up to three times."""
    if chance.random() < 0.25:
        return content[: chance.randrange(len(content) + 1)]
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(min(len(content), chance.choice([16, 200, 10**9])) + 1)
        piece = content[start : start + chance.choice([0, 1, 2, 4, 8, 64, 500])]
        width = max(len(piece), 1)
        new = chance.choice([
            b"", piece * 3, bytes(byte ^ (1 << chance.randrange(8)) for byte in piece[:8]) + piece[8:],
            chance.randbytes(width), b"\0" * width, b"\xff" * width, struct.pack("<f", chance.choice([1e30, 1e38])),
            chance.choice(NUMBERS).to_bytes(8, chance.choice(["little", "big"]))[:width],
        ])  # fmt: skip
        content = content[:start] + new + content[start + len(piece) :]
    return content


def damaged_file(name: str, content: bytes, chance: random.Random) -> bytes:
    """As the kind of the file asks for: words of texts and of what stands in front of numbers, or just bytes."""
    if chance.random() < 0.4:
        return damaged_bytes(content, chance)
    if name.endswith((".safetensors", ".index")):
        length = int.from_bytes(content[:8], "little")
        head = damaged_text(content[8 : 8 + length].decode("utf-8", "replace"), chance)
        return len(head).to_bytes(8, "little") + head + content[8 + length :]
    if content.startswith(b"\x93NUMPY"):
        length = int.from_bytes(content[8:10], "little")
        head = damaged_text(content[10 : 10 + length].decode("latin-1"), chance).ljust(length, b" ")[:60000]
        return content[:8] + len(head).to_bytes(2, "little") + head + content[10 + length :]
    if content.startswith(b"PK"):
        return _damaged_archive(content, chance)
    try:
        return damaged_text(content.decode(), chance)
    except UnicodeDecodeError:
        return damaged_bytes(content, chance)


def damage(folder: Path, chance: random.Random) -> str:
    """Damage one file of the folder, or put something else in its place; says what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = chance.choice(files)
    name = str(file.relative_to(folder))
    if chance.random() < 0.15:
        instead = chance.choice(IN_ITS_PLACE)
        put(file, instead, chance.choice(files))
        return f"{name}: {instead}"
    content = damaged_file(file.name, file.read_bytes(), chance)
    file.unlink()  # it may be a link to the good one
    file.write_bytes(content)
    return f"{name}: {content[:200]!r}"


def put(file: Path, instead: str, other: Path) -> None:
    """Something else in the place of a file: see `IN_ITS_PLACE`."""
    content = other.read_bytes()
    file.unlink()
    if instead == "empty":
        file.touch()
    elif instead == "folder":
        file.mkdir()
    elif instead == "pipe":
        os.mkfifo(file)
    elif instead == "socket":
        here = os.getcwd()
        os.chdir(file.parent)  # addresses are short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(file.name)
        finally:
            os.chdir(here)
    elif instead == "huge":
        with open(file, "wb") as stream:
            stream.truncate(HUGE)
    elif instead == "other":
        file.write_bytes(content)
    elif instead != "nothing":
        file.symlink_to({"dangling": "nowhere", "loop": file.name, "zeros": "/dev/zero"}[instead])


def linked(good: Path, folder: Path) -> Path:
    """A copy of a folder whose files are links to the good ones: nothing is copied."""
    return Path(shutil.copytree(good, folder, copy_function=os.link))


def _damaged_archive(content: bytes, chance: random.Random) -> bytes:
    """A zip file with one of its members damaged, or missing."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        chosen = chance.choice(old.namelist())
        for name in old.namelist():
            inner = old.read(name)
            if name == chosen:
                if chance.random() < 0.2:
                    continue
                inner = damaged_file("", inner, chance)
            new.writestr(name, inner)
    return made.getvalue()
