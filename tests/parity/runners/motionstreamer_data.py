"""Parity of the data sets of MotionStreamer: folders on disk become the same items.

Stored latents have the end latent as their last row; here its place follows from the frames, so motions of as many
frames stand in for them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mld.data.config import DataConfig
from mld.data.cropping import coin_flip_crop
from mld.data.instructions import Filling
from mld.data.sources.babel_stream import BabelStreamSource
from mld.data.sources.humanml3d import HumanML3DSource
from mld.data.tokens import segment_tokens
from mld.example import CaptionedClip
from mld.models.families.motionstreamer.model import end_latent
from mld.motion.normalizer import Normalizer
from mld.padding import padded
from tests.parity.harness import Case, runner
from tests.parity.runners.motionstreamer_tae import flow_of, load_tokenizer

WIDTH = 272
BODY, STREAM = "humanml3d_272", "babel_272_stream"


def write(root: Path, files: dict[str, str], frames: dict[str, int]) -> None:
    """The files of a case, and a motion of so many frames for each name."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    for name, count in frames.items():
        folder = root / (f"{STREAM}/train_stream" if name.startswith("seq") else f"{BODY}/motion_data")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", np.zeros((count, WIDTH), dtype=np.float32))


def config(case: Case, source: str, root: Path, **settings) -> DataConfig:
    unit = case.config.get("frames_per_latent", 4)
    return DataConfig(source, str(root), "motion272", "split", unit_length=unit, fps=case.config["fps"], **settings)


def latents_of(case: Case) -> dict[str, Tensor]:
    return {name.removeprefix("latents/"): case.tensor(name) for name in case.arrays if name.startswith("latents/")}


def longest(case: Case) -> int:
    """Frames of the longest clip whose latents, that of the end included, are kept."""
    return case.config["max_latents"] * case.config["frames_per_latent"] - 1


def body_items(case: Case, root: Path) -> list[dict]:
    """Items of the body folder in the order of its split, stretches before the whole of a file."""
    source = HumanML3DSource(config(case, "humanml3d", root, min_frames=1, timed_min_frames=1,
                                    max_frames=longest(case)), "train")  # fmt: skip
    stored, unit, found = latents_of(case), source._cfg.unit_length, []
    order = (root / "split/train.txt").read_text().split()
    for sample in (source.sample(index) for index in range(len(source))):
        told = sample.captions[0]
        name = sample.file if told.whole else f"{sample.file}_{told.start:f}_{told.stop:f}"
        numbers = segment_tokens(torch.arange(len(stored[sample.file])), sample.start, sample.stop, unit).tolist()
        ends = sample.stop == (len(stored[sample.file]) - 1) * unit  # then the end latent follows
        found.append({"name": name, "source": sample.file, "start": numbers[0], "end": numbers[-1] + 1 + ends,
                      "captions": [one.text for one in sample.captions], "at": (told.whole, sample.name)})  # fmt: skip
    found.sort(key=lambda item: (order.index(item["source"]), item.pop("at")))
    return found


@runner("motionstreamer.data.t2m")
def t2m(case: Case) -> dict:
    (file,) = case.spec["extra_data"]
    stored, unit = latents_of(case), case.config["frames_per_latent"]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), case.arrays[f"{file}#files"], {name: (len(x) - 1) * unit for name, x in stored.items()})
        items = body_items(case, Path(folder) / BODY)
    whole, out = stored[items[0]["source"]][items[0]["start"] : items[0]["end"]], {f"{file}#items": items}
    clip = CaptionedClip("first", torch.zeros(len(whole) * unit, 1), ("-",), 30.0, tokens=whole)
    for seed in range(100):  # what the published coin does, this coin does as well
        filling = Filling.draw(clip, np.random.default_rng(seed), DataConfig(unit_length=unit))
        kept = whole[filling.first : filling.first + filling.units]
        ending = "drop_first" if filling.first else "drop_last" if filling.units < len(whole) else "none"
        out[f"first_item/{ending}"] = filled(kept, case.config["max_latents"])
        out[f"first_item_length/{ending}"] = len(kept)
    return out


@runner("motionstreamer.data.stream")
def stream(case: Case) -> dict:
    (file,) = case.spec["extra_data"]
    stored, unit = latents_of(case), case.config["frames_per_latent"]
    files = dict(case.arrays[f"{file}#files"])
    names = sorted(Path(path).stem for path in files if path.startswith(BODY))
    files[f"{BODY}/split/train.txt"] = "\n".join(names)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, files, {name: (len(x) - 1) * unit for name, x in stored.items()})
        items = [{**item, "history_latents": 0} for item in body_items(case, root / BODY)]
        source = BabelStreamSource(config(case, "babel_stream", root / STREAM, max_frames=longest(case)), "train")
        for clip in (source[index] for index in range(len(source))):
            items.append({"name": clip.name, "source": clip.name, "start": 0, "end": clip.num_frames // unit + 1,
                          "captions": list(clip.captions), "history_latents": clip.history // unit})  # fmt: skip
    items.sort(key=lambda item: item["name"])
    out = {f"{file}#items": items}
    for item in items:
        rows = stored[item["source"]][item["start"] : item["end"]]
        out[f"padded/{item['name']}"] = filled(rows, case.config["max_latents"])
    return out


@runner("motionstreamer.data.eval")
def evaluation(case: Case) -> dict:
    (file,) = case.spec["extra_data"]
    c, lengths = case.config, case.arrays[f"{file}#lengths"]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), case.arrays[f"{file}#files"], lengths)
        source = HumanML3DSource(
            config(case, "humanml3d", Path(folder) / BODY, min_frames=c["min_frames"],
                   max_frames=c["max_frames_exclusive"] - 1), c["split"],
        )  # fmt: skip
        samples = [source.sample(index) for index in range(len(source))]
    items = [{"source": one.file, "start": one.start, "end": one.stop, "captions": [x.text for x in one.captions]}
             for one in sorted(samples, key=lambda one: (one.file, one.start, one.stop))]  # fmt: skip
    name = next(name for name in case.arrays if name.startswith("motion_"))
    motion = case.tensor(name)
    spans = {coin_flip_crop(len(motion), c["unit_length"], np.random.default_rng(seed)) for seed in range(500)}
    length, start = case.arrays["crop"].tolist()
    assert (start, start + length) in spans
    statistics = Normalizer(case.tensor("mean", torch.float32), case.tensor("std", torch.float32))
    item = statistics.normalize(motion[start : start + length])
    return {f"{file}#items": items, f"{file}#crops": sorted([stop - first, first] for first, stop in spans),
            "item": filled(item, c["pad_to"])}  # fmt: skip


@runner("motionstreamer.data.latents")
@torch.no_grad()
def latents(case: Case) -> dict:
    c = case.config
    statistics = case.tensor("mean", torch.float32), case.tensor("std", torch.float32)
    tokenizer = load_tokenizer({"upsample": "nearest", **c}, case.state_dict, statistics)
    mean = end_latent(tokenizer)
    nothing = torch.zeros(1, tokenizer.layout.frames_per_token, c["input_size"])
    end = tokenizer.posterior(nothing, flow_of(nothing)).sample(case.tensor("end_eps")[None])[0]
    motions = {name.removeprefix("motion/"): case.tensor(name) for name in case.arrays if name.startswith("motion/")}
    out: dict = {"reference_end_latent": end, "reference_end_mu": mean[None]}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        texts = {f"{BODY}/texts/{name}.txt": "a#a#0.0#0.0" for name in motions if not name.startswith("seq")}
        texts |= {f"{STREAM}/train_stream_text/{name}.txt": "a*b#4" for name in motions if name.startswith("seq")}
        texts[f"{BODY}/split/train.txt"] = "\n".join(name for name in motions if not name.startswith("seq"))
        write(root, texts, {name: len(motion) for name, motion in motions.items()})
        body = DataConfig("humanml3d", str(root / BODY), "motion272", "split", min_frames=c["min_frames"])
        sequences = DataConfig("babel_stream", str(root / STREAM), "motion272")
        sources = HumanML3DSource(body, "train"), BabelStreamSource(sequences, "train")
        out["kept"] = sorted(source[index].name for source in sources for index in range(len(source)))
    for name in out["kept"]:
        first, unit = int(case.arrays[f"offset/{name}"]), tokenizer.layout.frames_per_token
        frames = tokenizer.normalize(motions[name][first : first + len(motions[name]) // unit * unit][None])
        found = tokenizer.posterior(frames, flow_of(frames)).sample(case.tensor(f"eps/{name}")[None])[0]
        out[f"latents/{name}"] = torch.cat((found, end))
    return out


def filled(rows: Tensor, length: int) -> Tensor:
    """Rows (L, C) with zeros behind them, up to `length`."""
    return torch.cat((padded([rows])[0][0], rows.new_zeros(length - len(rows), rows.shape[1])))
