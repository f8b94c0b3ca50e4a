"""Answers of judges in a folder: asked once, used again, also without the judge.

A file `<key>-<judge>.json` for each answer, whole or not there: the key is of the question and of what it is about,
the second part of the identity of the judge. Several threads and processes may share a folder.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mld.errors import RequestError, shown
from mld.evaluation.judge.contract import Judge, JudgeError
from mld.files import parse_json, write_json
from mld.reading import read_bytes

FORMAT = "mld-judge-answer/1"
MOST = 4_000_000  # bytes of a file
Draw = Callable[[], Sequence[bytes]]


class Recorded:
    """A judge whose answers are kept in a folder. asked, replayed: how many answers came from where."""

    def __init__(self, judge: Judge, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"{folder}: a file; answers of a judge are kept in a folder")
        self.judge, self.folder, self.identity = judge, folder, judge.identity
        self.asked = self.replayed = 0
        self._lock, self._busy = threading.Lock(), dict[str, threading.Lock]()

    def ask(self, question: str, pictures: Sequence[bytes], fps: float) -> str:
        return self.about(question, pictures_hash(pictures), lambda: pictures, fps)

    def about(self, question: str, subject: str, draw: Draw, fps: float) -> str:
        """The answer to a question about a subject (the hash of a motion, say); pictures are drawn where the judge has
        to be asked, for which a second thread with the same question waits."""
        place = self.folder / f"{key_of(question, subject, fps)}-{_hash(self.identity)[:8]}.json"
        with self._lock:
            busy = self._busy.setdefault(place.name, threading.Lock())
        with busy:
            known = read_record(place)
            if known is not None:
                self._count("replayed")
                return known["answer"]
            pictures = draw()
            answer = self.judge.ask(question, pictures, fps)
            write_json(place, {
                "format": FORMAT, "judge": self.identity, "question": question, "subject": subject, "fps": fps,
                "pictures": len(pictures), "answer": answer,
            })  # fmt: skip
            self._count("asked")
            return answer

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self, what, getattr(self, what) + 1)


class Replay:
    """Recorded answers alone, of one judge: that of `identity`, or of the only one that the folder has."""

    def __init__(self, folder: Path, identity: str = "") -> None:
        if not folder.is_dir():
            raise RequestError(f"replay:{folder}: no such folder; name one that answers of a judge were kept in")
        found: dict[str, dict[str, str]] = {}
        for path in sorted(folder.glob("*.json")):
            record = read_record(path)
            if record is not None:
                key = key_of(record["question"], record["subject"], record["fps"])
                found.setdefault(record["judge"], {})[key] = record["answer"]
        if not found:
            raise RequestError(f"replay:{folder}: no recorded answers in it")
        if identity not in found and (identity or len(found) > 1):
            named = ", ".join(shown(name)[1:-1] for name in sorted(found)[:4])
            raise RequestError(f"replay:{folder}: answers of {named}; name one of them: replay:{folder}#IDENTITY")
        self.folder, self.identity = folder, identity or next(iter(found))
        self._answers = found[self.identity]

    def ask(self, question: str, pictures: Sequence[bytes], fps: float) -> str:
        return self.about(question, pictures_hash(pictures), lambda: pictures, fps)

    def about(self, question: str, subject: str, draw: Draw, fps: float) -> str:
        """As of `Recorded`; nothing is drawn."""
        answer = self._answers.get(key_of(question, subject, fps))
        if answer is None:
            raise JudgeError(f"no recorded answer in {self.folder} for this question and this motion")
        return answer


def ask_about(judge: Judge, question: str, subject: str, draw: Draw, fps: float) -> str:
    """The answer of a judge; from its records where it keeps them."""
    if isinstance(judge, (Recorded, Replay)):
        return judge.about(question, subject, draw, fps)
    return judge.ask(question, draw(), fps)


def recorded(judge: Judge, folder: Path | None) -> Judge:
    """A judge with its answers kept in a folder, where one is named and it has not a folder already."""
    return judge if folder is None or isinstance(judge, (Recorded, Replay)) else Recorded(judge, folder)


def key_of(question: str, subject: str, fps: float) -> str:
    return _hash("\0".join((question, subject, f"{fps:g}")))[:32]


def pictures_hash(pictures: Sequence[bytes]) -> str:
    return "pictures:" + _hash("".join(hashlib.sha256(picture).hexdigest() for picture in pictures))


def read_record(path: Path) -> dict[str, Any] | None:
    """A recorded answer; None where there is none, or a damaged one, which is asked again."""
    try:
        record = parse_json(read_bytes(path, MOST))
        words = [record[name] for name in ("judge", "question", "subject", "answer")]
        whole = record["format"] == FORMAT and all(isinstance(word, str) for word in words)
        return record if whole and isinstance(record["fps"], (int, float)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
