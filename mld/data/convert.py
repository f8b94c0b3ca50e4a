"""Between the two dataset layouts: joints + captions -> HumanML3D folder, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mld.data.clips import SPLITS, ClipSource, dataset_root
from mld.data.config import DataConfig
from mld.data.sources.humanml3d import FEATURES_FOLDER, TEXTS_FOLDER
from mld.data.sources.joints_captions import CLIPS_FILE, SPLITS_FOLDER, TRIALS_FILE
from mld.data.sources.opening import build_source
from mld.data.statistics import measure
from mld.errors import DataError
from mld.files import replacing, write_array
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation

JOINTS_FOLDER = "new_joints"


def convert(cfg: DataConfig, out: Path) -> list[str]:
    """Write the dataset of `cfg` into the new folder `out` in the other layout, which appears when it is complete;
    returns a line per split."""
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise DataError(f"{out} is already there and not empty; name a new folder")
    folder = dataset_root(cfg) / (cfg.splits or (SPLITS_FOLDER if cfg.source == "joints" else ""))
    sources = {split: build_source(cfg, split) for split in SPLITS if (folder / f"{split}.txt").is_file()}
    if not sources:
        raise DataError(f"no train.txt, val.txt or test.txt in {folder}")
    write = _to_humanml3d if cfg.source == "joints" else _to_joints
    with replacing(out) as new:
        write(sources, new, get_representation(cfg.representation))
    return [source.report() for source in sources.values()]


def _to_humanml3d(sources: dict[str, ClipSource], out: Path, representation: Representation) -> None:
    for name in (FEATURES_FOLDER, JOINTS_FOLDER, TEXTS_FOLDER):
        (out / name).mkdir(parents=True)
    names: dict[str, list[str]] = {}
    for split, clip in _clips(sources):
        write_array(out / FEATURES_FOLDER / f"{clip.name}.npy", clip.features.numpy())
        write_array(out / JOINTS_FOLDER / f"{clip.name}.npy", representation.decode_joints(clip.features).numpy())
        lines = [f"{text.replace('#', ' ')}#{' '.join(tokens)}#0.0#0.0\n" for text, tokens in _sentences(clip)]
        (out / TEXTS_FOLDER / f"{clip.name}.txt").write_text("".join(lines), encoding="utf-8")
        names.setdefault(split, []).append(clip.name)
    names["all"] = [name for ids in names.values() for name in ids]
    for split, ids in names.items():
        (out / f"{split}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    if "train" in sources:
        statistics = measure(sources["train"])
        write_array(out / "Mean.npy", statistics.mean.numpy())
        write_array(out / "Std.npy", statistics.std.numpy())


def _to_joints(sources: dict[str, ClipSource], out: Path, representation: Representation) -> None:
    (out / SPLITS_FOLDER).mkdir(parents=True)
    trials, lines = {}, []
    names: dict[str, list[str]] = {}
    for split, clip in _clips(sources):
        joints = representation.decode_joints(clip.features) * representation.skeleton.metres_per_unit
        trials[clip.name] = joints.numpy().astype(np.float32)
        row = {"id": clip.name, "trial": clip.name, "start": 0, "end": len(joints), "label": clip.label}
        row |= {"captions": list(clip.captions), "quality": "good", "split": split}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        names.setdefault(split, []).append(clip.name)
    np.savez(out / TRIALS_FILE, **trials)
    (out / CLIPS_FILE).write_text("".join(lines), encoding="utf-8")
    for split, ids in names.items():
        (out / SPLITS_FOLDER / f"{split}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")


def _clips(sources: dict[str, ClipSource]) -> Iterator:
    for split, source in sources.items():
        for index in tqdm(range(len(source)), split):
            yield split, source[index]


def _sentences(clip) -> Iterator[tuple[str, tuple[str, ...]]]:
    return zip(clip.captions, clip.caption_tokens or [()] * len(clip.captions))
