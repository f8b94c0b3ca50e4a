"""A sheet for raters: a motion and a video per prompt and model, in a folder per prompt, and the page that shows them.

`sheet.json` says which video is which model's and is not for raters; names of videos say nothing. What is there is not
made again, so a stopped run goes on. Orders of models and names follow from the seed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mld.checkpoint import CONFIG, resolve_folder, weights_hash
from mld.engine.pipeline import Pipeline
from mld.engine.request import Answer, Request
from mld.errors import DataError, MldError, RequestError
from mld.evaluation.rating.page import write_page
from mld.evaluation.rating.prompts import Prompt
from mld.evaluation.rating.scale import FORMAT
from mld.example import Text
from mld.files import atomically, file_hash, parse_json, write_json, write_text
from mld.models.contracts.generator import Shape
from mld.reading import read_text

SHEET, PAGE = "sheet.json", "rating.html"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Rated:
    """A model that is rated. source: its folder, bundled name or hub id. hash: of its weights and config."""

    name: str
    source: str
    hash: str

    @classmethod
    def of(cls, source: str) -> Rated:
        folder = resolve_folder(source)
        name = folder.resolve().parent.name if folder.resolve().name == "model" else folder.resolve().name
        known = f"{weights_hash(folder)}{file_hash(folder / CONFIG)}"
        return cls(name, source, hashlib.sha256(known.encode()).hexdigest()[:16])


@dataclass(frozen=True)
class SheetSettings:
    """seconds: of every motion, None lets the model decide. rewriter: what the prompts were rewritten by. embed: the
    videos are put into the page, which then is one file."""

    seed: int = 0
    seconds: float | None = None
    rewriter: str = ""
    embed: bool = False
    device: str = "cpu"
    batch_size: int = 8


class Sheet:
    """One sheet in its folder. said: what models are asked, by line, where that is not the prompt itself."""

    def __init__(
        self, folder: Path, prompts: Sequence[Prompt], models: Sequence[Rated], settings: SheetSettings,
        title: str = "",
    ) -> None:  # fmt: skip
        if len({model.hash for model in models}) < len(models):
            raise RequestError("--model: two of the models have the same weights; name each once")
        self.folder, self.prompts, self.settings = folder, prompts, settings
        names = _told_apart([(model.name, model.hash) for model in models])
        self.models = [replace(model, name=name) for model, name in zip(models, names)]
        asked = [[prompt.line, prompt.text] for prompt in prompts]
        hashes = sorted(model.hash for model in models)
        known = [FORMAT, hashes, asked, settings.seed, settings.seconds, settings.rewriter]
        self.id = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
        earlier = read_sheet(folder) if (folder / SHEET).is_file() else None
        if earlier is not None and earlier["sheet"] != self.id:
            raise DataError(f"{folder} holds another sheet (other models, prompts, seed or length); name another --out")
        self.about = earlier or self._new(title, hashes)
        self._entries = {entry["line"]: entry for entry in self.about["prompts"]}

    @property
    def rewrites(self) -> dict[int, str] | None:
        """What was made of the prompts by an earlier run; None where nothing was yet."""
        known = self.about.get("rewrites")
        return None if known is None else {int(line): text for line, text in known.items()}

    def rewritten(self, texts: dict[int, str]) -> None:
        """Keep what the models are asked in place of the prompts."""
        self.about["rewrites"] = {str(line): text for line, text in texts.items()}
        for prompt in self.prompts:
            self._entries[prompt.line]["asked"] = texts.get(prompt.line, prompt.text)
        self.save()

    def make(self, say: Say) -> int:
        """Make what is missing; the number of motions that could not be made."""
        for prompt in self.prompts:
            entry = self._entries[prompt.line]
            text = prompt.text if entry["asked"] == prompt.text else f"{prompt.text}\nasked: {entry['asked']}"
            write_text(self.folder / prompt.folder / "prompt.txt", text + "\n")
        for number, model in enumerate(self.models):
            wanted = [prompt for prompt in self.prompts if not prompt.error and not self._done(prompt, number)]
            if wanted:
                self._make_all(number, model, wanted, say)
        for prompt in self.prompts:
            if prompt.error:
                say(f"line {prompt.line}: {prompt.error}")
        self.save()
        write_page(self.about, self.folder / PAGE, self.settings.embed)
        return sum("error" in clip for entry in self.about["prompts"] for clip in entry["clips"])

    def save(self) -> None:
        write_json(self.folder / SHEET, self.about)

    def _new(self, title: str, hashes: list[str]) -> dict[str, Any]:
        entries = []
        for prompt in self.prompts:
            order = list(range(len(self.models)))
            random.Random(f"{self.settings.seed}/{prompt.line}").shuffle(order)
            clips = [{"id": self._name(prompt, number), "model": number} for number in order]
            entries.append({
                "line": prompt.line, "text": prompt.text, "category": prompt.category, "folder": prompt.folder,
                "asked": prompt.text, "clips": [c | {"error": prompt.error} if prompt.error else c for c in clips],
            })  # fmt: skip
        models = [{"name": model.name, "source": model.source, "hash": model.hash} for model in self.models]
        return {"format": FORMAT, "sheet": self.id, "title": title, "models": models, "hashes": hashes,
                "seed": self.settings.seed, "seconds": self.settings.seconds, "rewriter": self.settings.rewriter,
                "prompts": entries}  # fmt: skip

    def _name(self, prompt: Prompt, number: int) -> str:
        return hashlib.sha256(f"{self.id}/{prompt.line}/{self.models[number].hash}".encode()).hexdigest()[:12]

    def _clip(self, prompt: Prompt, number: int) -> dict[str, Any]:
        return next(clip for clip in self._entries[prompt.line]["clips"] if clip["model"] == number)

    def _done(self, prompt: Prompt, number: int) -> bool:
        clip = self._clip(prompt, number)
        places = [self.folder / prompt.folder / f"{clip['id']}{suffix}" for suffix in (".npy", ".mp4")]
        return "frames" in clip and all(place.is_file() for place in places)

    def _make_all(self, number: int, model: Rated, wanted: list[Prompt], say: Say) -> None:
        from tqdm import tqdm

        pipeline = Pipeline.load(model.source, self.settings.device)
        if Shape("motion") not in pipeline.model.answers:
            raise RequestError(f"{model.source}: this model makes no motion from text alone")
        with tqdm(total=len(wanted), desc=model.name, unit="motion", disable=None) as bar:
            for start in range(0, len(wanted), self.settings.batch_size):
                batch = wanted[start : start + self.settings.batch_size]
                for prompt, answer in self._answers(pipeline, batch):
                    try:
                        told = self._write(prompt, number, answer)
                    except MldError as error:  # of a motion that is no number, or no room for a video
                        told = str(error)
                        self._clip(prompt, number)["error"] = told
                    if told:
                        say(f"line {prompt.line}, {model.name}: {told}")
                    bar.update()
                self.save()

    def _answers(self, pipeline: Pipeline, batch: Sequence[Prompt]) -> Iterator[tuple[Prompt, Answer | MldError]]:
        """Prompts with their answers; where one of them spoils the batch, each is asked alone."""
        try:
            frames = pipeline.frames(self.settings.seconds)
            requests = [
                Request((Text(self._entries[p.line]["asked"]),), "motion", frames, self.settings.seed) for p in batch
            ]
            yield from zip(batch, pipeline.run(requests, batch_size=len(batch)), strict=True)
        except MldError as error:
            if len(batch) == 1:
                yield batch[0], error
            else:
                for prompt in batch:
                    yield from self._answers(pipeline, [prompt])

    def _write(self, prompt: Prompt, number: int, answer: Answer | MldError) -> str:
        """Write motion and video; what is to be told of them."""
        clip = self._clip(prompt, number)
        for key in ("error", "frames", "seconds"):
            clip.pop(key, None)
        if isinstance(answer, MldError) or answer.motion is None:
            clip["error"] = str(answer) if isinstance(answer, MldError) else "no motion was made"
            return clip["error"]
        motion, place = answer.motion, self.folder / prompt.folder / clip["id"]
        for suffix, options in ((".npy", {}), (".mp4", {"title": prompt.text})):
            with atomically(place.with_suffix(suffix)) as new:
                motion.save(new, **options)
        clip |= {"frames": motion.num_frames, "seconds": round(motion.duration, 3)}
        return "; ".join(answer.notes)


def _told_apart(models: Sequence[tuple[str, str]]) -> list[str]:
    """Names by (name, hash): of models whose folders have one name, such as two called `final`, with their hash."""
    names = [name for name, _ in models]
    return [f"{name} {known}" if names.count(name) > 1 else name for name, known in models]


def read_sheet(folder: Path) -> dict[str, Any]:
    """What `sheet.json` of a folder says; `DataError` where it is none."""
    place = folder / SHEET
    try:
        about = parse_json(read_text(place))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']!r}, expected {FORMAT!r}")
        about["sheet"] + "".join([*about["hashes"], *(model["name"] + model["hash"] for model in about["models"])])
        models = list(range(len(about["models"])))
        for entry in about["prompts"]:
            int(entry["line"]), entry["category"] + "".join(clip["id"] for clip in entry["clips"])
            if sorted(clip["model"] for clip in entry["clips"]) != models:
                raise ValueError(f"line {entry['line']} has no clip of each model")
        for model, name in zip(about["models"], _told_apart([(one["name"], one["hash"]) for one in about["models"]])):
            model["name"] = name
        return about
    except FileNotFoundError as error:
        raise DataError(f"no {SHEET} in '{folder}'; python -m prepare.rating make writes one") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place}: cannot be read ({error}); copy it again") from error
