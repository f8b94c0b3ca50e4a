"""What the demo writes: one set of files per request, an index, and overviews of all motions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mld.engine.cleaning import cleaned
from mld.engine.request import Answer, Request
from mld.engine.token_spans import token_spans
from mld.errors import RequestError
from mld.example import Clip, Text
from mld.files import write_json, write_text
from mld.models.contracts.tokens import TokenLayout
from mld.motion.cleanup.cleanup import CleanUpReport
from mld.motion.edit import resample
from mld.motion.formats import takes
from mld.motion.motion import Motion
from mld.motion.representations.base import Representation
from mld.view.browser import ViewItem, with_downloads

PICTURES = ("png", "mp4", "gif", "html")  # written for captions as well, to show what was described


def _sheet(items: Sequence[ViewItem], path: Path) -> None:
    from mld.view.figure import contact_sheet

    contact_sheet([item.motion for item in items], path, [item.caption for item in items])


def _page(items: Sequence[ViewItem], path: Path) -> None:
    from mld.view.browser import save_viewer

    save_viewer(items, path, items[0].caption if len(items) == 1 else path.parent.resolve().name)


OVERVIEWS = {"png": (_sheet, 32), "html": (_page, 200)}  # how, and the most motions in each


def check_formats(names: str) -> tuple[str, ...]:
    """`npy,png` as a tuple; `RequestError` for an unknown one."""
    from mld.motion.formats import suffixes

    known = tuple(dict.fromkeys((*(suffix.lstrip(".") for suffix in suffixes()), *PICTURES)))
    formats = tuple(name.strip().lstrip(".").lower() for name in names.split(",") if name.strip())
    unknown = [name for name in formats if name not in known]
    if unknown or not formats:
        wrong = ", ".join(unknown) or "nothing"
        raise RequestError(f"--format {names}: {wrong} cannot be written; known: {', '.join(known)}")
    return formats


@dataclass
class Outputs:
    """Writes answers into `folder` as they come. layout: of the model's tokens, whose spans the pages show.
    settings are put into `index.json`; so are originals, texts before they were rewritten, by line.
    clean_up: whether generated motions are cleaned up; reported there, too."""

    folder: Path
    formats: tuple[str, ...]
    representation: Representation
    layout: TokenLayout
    settings: dict[str, Any]
    entries: list[dict[str, Any]] = field(default_factory=list)
    items: list[ViewItem] = field(default_factory=list)
    clean_up: bool = False
    reports: list[CleanUpReport] = field(default_factory=list)  # on what was cleaned up
    overviews: tuple[str, ...] | None = None  # kinds of them, those among `formats` by default
    names: str = "own"  # of joints, in formats that have names
    fps: float | None = None  # of what is written, that of the model by default
    originals: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.overviews is None:
            self.overviews = tuple(kind for kind in self.formats if kind in OVERVIEWS)

    def write(self, answer: Answer, line: int, number: int) -> dict[str, Any]:
        """Write the files of one answer. number: of the request, counted over the whole run.

        Where one of them cannot be written, none of them stays and `index.json` has the answers before."""
        said = answer.text if answer.request.output == "text" else label_of(answer.request)
        stem = f"{number:03d}_{slug(answer.request.name or said)}"
        before, entries, items = set(self.folder.glob(f"{stem}.*")), len(self.entries), len(self.items)
        try:
            return self._write(answer, line, stem, said)
        except OSError:
            del self.entries[entries:], self.items[items:]
            for file in set(self.folder.glob(f"{stem}.*")) - before:
                file.unlink()
            self.save_index()
            raise

    def _write(self, answer: Answer, line: int, stem: str, said: str) -> dict[str, Any]:
        request = answer.request
        prompt = describe(request)
        motion = answer.motion if answer.motion is not None else given_motion(request, self.representation)
        report, failed = None, ""
        if answer.motion is not None and self.clean_up:
            motion, report, failed = cleaned(answer, self.layout)
        tokens = token_spans(answer, self.layout) or None
        if motion is not None and self.fps is not None:
            share, motion = self.fps / motion.fps, resample(motion, self.fps)
            tokens = tokens and [
                (min(round(start * share), motion.num_frames - 1), min(round(stop * share), motion.num_frames), name)
                for start, stop, name in tokens
            ]
        files = [self._text(stem, said)]
        if motion is not None:
            label = f"seed {request.seed}" if self.settings.get("num_samples", 1) > 1 else ""
            item = ViewItem(motion, said, tokens, label, prompts=_prompts(answer, motion))
            files += self._motion(stem, item, is_answer=answer.motion is not None)
        entry = {
            "line": line, "prompt": prompt, "output": request.output, "seed": request.seed, "files": files,
            "complete": answer.complete, "notes": [*answer.notes, *filter(None, [failed])],
        }  # fmt: skip
        if line in self.originals:
            entry["original"] = self.originals[line]
        if request.output == "text":
            entry["text"] = answer.text
            if answer.captions:
                entry["captions"] = [asdict(caption) for caption in answer.captions]
        else:
            entry |= {"frames": motion.num_frames, "seconds": round(motion.duration, 3), "fps": motion.fps}
            if answer.captions:
                entry["prompts"] = [asdict(caption) for caption in answer.captions]
        if report is not None:
            entry["clean_up"] = report.as_dict()
            self.reports.append(report)
        self.entries.append(entry)
        return entry

    def failed(self, line: int, message: str) -> None:
        self.entries.append({"line": line, "error": message})

    def save_index(self) -> Path:
        entries = sorted(self.entries, key=lambda entry: entry["line"])
        return write_json(self.folder / "index.json", {**self.settings, "results": entries})

    def save_overviews(self) -> list[Path]:
        """A picture of the first 32 motions and a page of the first 200, in the formats that are wanted."""
        written = []
        for kind in (self.overviews or ()) if self.items else ():
            draw, most = OVERVIEWS[kind]
            written.append(self.folder / f"overview.{kind}")
            draw(self.items[:most], written[-1])
        return written

    def _text(self, stem: str, text: str) -> str:
        write_text(self.folder / f"{stem}.txt", text + "\n")
        return f"{stem}.txt"

    def _motion(self, stem: str, item: ViewItem, is_answer: bool) -> list[str]:
        if "html" in self.formats or "html" in (self.overviews or ()):
            item = with_downloads(item)
        self.items.append(item)
        names = []
        for kind in self.formats:
            path = self.folder / f"{stem}.{kind}"
            if kind == "html":
                _page([item], path)
            elif takes(f".{kind}", "on_frame"):
                self._video(item, path)
            elif kind in PICTURES:
                item.motion.save(path, title=item.caption)
            elif is_answer:
                item.motion.save(path, **({"names": self.names} if takes(f".{kind}", "names") else {}))
            else:
                continue
            names.append(path.name)
        return names

    def _video(self, item: ViewItem, path: Path) -> None:
        """With a bar on stderr, frame by frame."""
        from tqdm import tqdm

        with tqdm(total=item.motion.num_frames, desc=f"drawing {path.name}", unit="frame", leave=False,
                  disable=None) as bar:  # fmt: skip

            def on_frame(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            item.motion.save(path, title=item.caption, on_frame=on_frame)


def _words(request: Request, clip: str) -> str:
    """The texts of a prompt, with `clip` for its motions; texts that follow each other are apart."""
    kinds = [isinstance(part, Text) for part in request.prompt]
    pieces = [part.text if isinstance(part, Text) else clip for part in request.prompt]
    return "".join((" | " if i and kinds[i] and kinds[i - 1] else "") + piece for i, piece in enumerate(pieces))


def _prompts(answer: Answer, motion: Motion | None) -> tuple[tuple[int, int, str], ...]:
    """(start frame, stop frame, words) of what was said for parts of a motion that was made."""
    if answer.motion is None:
        return ()
    spans = [(round(one.start * motion.fps), round(one.stop * motion.fps), one.text) for one in answer.captions]
    last = motion.num_frames
    return tuple((start, min(stop, last), text) for start, stop, text in spans if start < last)


def describe(request: Request) -> str:
    """A prompt in words, with <motion> for its clips; a prompt of clips alone is called by its name."""
    words = _words(request, "<motion>").strip()
    return words if words.replace("<motion>", "") or not request.name else request.name


def label_of(request: Request) -> str:
    """What a motion is called where people see it: the words of its prompt, and the name of the motion given."""
    words = _words(request, " ")
    words = " ".join(words.split())
    if not words or not request.name or not any(isinstance(part, Clip) for part in request.prompt):
        return words or request.name or "motion"
    return words if request.name in words else f"{request.name}: {words}"


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
