"""What the demo writes: one set of files per request, an index, and an overview of all motions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mld.data.example import Clip, Text
from mld.engine.request import Answer, Request
from mld.errors import RequestError
from mld.metrics.results import write_json
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation

PICTURES = ("png", "mp4")
MOST_ROWS = 32  # of the overview sheet


def check_formats(names: str) -> tuple[str, ...]:
    """`npy,png` as a tuple; `RequestError` for an unknown one."""
    from mld.motion.formats import suffixes

    known = (*(suffix.lstrip(".") for suffix in suffixes()), *PICTURES)
    formats = tuple(name.strip().lstrip(".").lower() for name in names.split(",") if name.strip())
    unknown = [name for name in formats if name not in known]
    if unknown or not formats:
        wrong = ", ".join(unknown) or "nothing"
        raise RequestError(f"--format {names}: {wrong} cannot be written; known: {', '.join(known)}")
    return formats


@dataclass
class Outputs:
    """Writes answers into `folder` as they come. `settings` are put into `index.json`."""

    folder: Path
    formats: tuple[str, ...]
    representation: Representation
    settings: dict[str, Any]
    entries: list[dict[str, Any]] = field(default_factory=list)
    motions: list[Motion] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    def write(self, answer: Answer, line: int, number: int) -> dict[str, Any]:
        """Write the files of one answer. number: of the request, counted over the whole run."""
        request = answer.request
        prompt = describe(request)
        said = answer.text if request.output == "text" else prompt
        stem = f"{number:03d}_{slug(request.name or said)}"
        motion = answer.motion if answer.motion is not None else given_motion(request, self.representation)
        files = [self._text(stem, said)]
        if motion is not None:
            files += self._motion(stem, motion, said, is_answer=answer.motion is not None)
        entry = {
            "line": line, "prompt": prompt, "output": request.output, "seed": request.seed, "files": files,
            "complete": answer.complete, "notes": list(answer.notes),
        }  # fmt: skip
        if request.output == "text":
            entry["text"] = answer.text
        else:
            entry |= {"frames": motion.num_frames, "seconds": round(motion.duration, 3), "fps": motion.fps}
        self.entries.append(entry)
        return entry

    def failed(self, line: int, message: str) -> None:
        self.entries.append({"line": line, "error": message})

    def save_index(self) -> Path:
        entries = sorted(self.entries, key=lambda entry: entry["line"])
        return write_json(self.folder / "index.json", {**self.settings, "results": entries})

    def save_overview(self) -> Path | None:
        """One picture of all motions, the first 32 of them; None when there is none."""
        if not self.motions or "png" not in self.formats:
            return None
        from mld.view.figure import contact_sheet

        contact_sheet(self.motions[:MOST_ROWS], self.folder / "overview.png", self.titles[:MOST_ROWS])
        return self.folder / "overview.png"

    def _text(self, stem: str, text: str) -> str:
        (self.folder / f"{stem}.txt").write_text(text + "\n", encoding="utf-8")
        return f"{stem}.txt"

    def _motion(self, stem: str, motion: Motion, title: str, is_answer: bool) -> list[str]:
        self.motions.append(motion)
        self.titles.append(title)
        names = []
        for kind in self.formats:
            path = self.folder / f"{stem}.{kind}"
            if kind == "png":
                from mld.view.figure import contact_sheet

                contact_sheet([motion], path, [title])
            elif kind == "mp4":
                from mld.view.video import video

                video(motion, path, title)
            elif is_answer:
                motion.save(path)
            else:
                continue
            names.append(path.name)
        return names


def describe(request: Request) -> str:
    """A prompt in words, with <motion> for its clips; a prompt of clips alone is called by its name."""
    words = "".join(part.text if isinstance(part, Text) else "<motion>" for part in request.prompt).strip()
    return words if words.replace("<motion>", "") or not request.name else request.name


def given_motion(request: Request, representation: Representation) -> Motion | None:
    """The first motion of a prompt."""
    clip = next((part for part in request.prompt if isinstance(part, Clip)), None)
    if clip is None:
        return None
    if clip.joints is None:
        return representation.decode(clip.features)
    return Motion(clip.joints, representation.fps, representation.skeleton)


def slug(text: str) -> str:
    """A short file name out of a text."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:40].rstrip("-") or "motion"
