"""A miniature of the MotionMillion layout and of the archives that it is handed on in."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mld.data.config import DataConfig
from mld.motion.motion import Motion
from mld.motion.representations.registry import get_representation
from mld.motion.skeletons import get_skeleton
from tests.data.conftest import figure

WEB, MIRROR, DANCE, OTHER = "MotionGV/folder0", "Mirror_MotionGV/folder0", "PhantomDance", "HumanML3D"
SPLITS = {
    "train": [f"{WEB}/a1", f"{WEB}/a2", f"{MIRROR}/a1", f"{MIRROR}/b1", f"{WEB}/Case",
              f"{OTHER}/000001", f"{WEB}/dumb"],
    "val": [f"{WEB}/b1", f"{MIRROR}/a2", f"{WEB}/empty"],
    "test": [f"{WEB}/c1", f"{MIRROR}/Case", f"{WEB}/case", f"{DANCE}/d1"],
}  # leaks: Mirror b1 (train) of val, Mirror a2 (val) of train, Mirror Case (test) of train
LEAK_FREE = {"train": 6, "val": 2, "test": 3}
MISSING = f"{OTHER}/000001"


def clip(frames: int, seed: int) -> np.ndarray:
    joints = torch.from_numpy(figure(frames, seed))
    representation = get_representation("motion272")
    return representation.encode(Motion(joints, 30.0, get_skeleton("smpl22"))).numpy()


def captions() -> dict[str, str]:
    """Texts by name; a clip without a text file, one with blank lines only, dances without texts."""
    names = [name for names in SPLITS.values() for name in names]
    found = {name: f"a person does {name.replace('/', ' ')}.\n\nsomeone moves.\n" for name in names}
    found[f"{WEB}/empty"] = "\n  \n"
    for name in (f"{WEB}/dumb", f"{DANCE}/d1"):
        del found[name]
    return found


def clips() -> dict[str, np.ndarray]:
    names = [name for names in SPLITS.values() for name in names if name != MISSING]
    return {name: clip(60 + number, number) for number, name in enumerate(names)}


def write_layout(root: Path, splits: Mapping[str, list[str]] = SPLITS) -> Path:
    for name, features in clips().items():
        path = root / "motion_data/vector_272" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, features)
    for name, text in captions().items():
        path = root / "texts" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    folder = root / "split/version1/t2m_60_300"
    folder.mkdir(parents=True)
    for split, names in splits.items():
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def config(root: Path, **changes) -> DataConfig:
    return DataConfig(**{
        "source": "humanml3d", "root": str(root), "representation": "motion272", "max_frames": 300,
        "splits": "split/version1/t2m_60_300", "min_frames": 60, **changes,
    })  # fmt: skip


def array_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def write_archive(path: Path, files: Mapping[str, bytes], *others: tarfile.TarInfo) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for member in others:
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_release(root: Path) -> Path:
    """As it is downloaded: members without the folder of their source, one archive with a folder twice."""
    arrays = {name: array_bytes(array) for name, array in clips().items()}

    def of(source: str) -> dict[str, bytes]:
        return {name.removeprefix(f"{source}/"): data for name, data in arrays.items() if name.startswith(f"{source}/")}

    motions = root / "motion_272rpr"
    write_archive(motions / "MotionGV/folder0.tar.gz", {f"{name}.npy": data for name, data in of("MotionGV").items()})
    twice = {f"folder0/{name}.npy": data for name, data in of("Mirror_MotionGV").items()}
    write_archive(motions / "Mirror_MotionGV/folder0.tar.gz", twice)
    write_archive(motions / "PhantomDance.tar.gz", {f"{name}.npy": data for name, data in of("PhantomDance").items()})
    texts = {f"texts/{name}.txt": text.encode() for name, text in captions().items()}
    write_archive(root / "texts.tar.gz", texts)
    splits = {f"split/version1/t2m_60_300/{k}.txt": ("\n".join(v) + "\n").encode() for k, v in SPLITS.items()}
    write_archive(root / "split.tar.gz", splits)
    (root / "mean_std").mkdir()
    for name in ("Mean", "Std"):
        np.save(root / "mean_std" / f"{name}.npy", np.full(272, 0.5))
    (root / "all_data.pkl").write_bytes(b"cos\nsystem\n")
    return root
