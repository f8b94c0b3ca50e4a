"""How far a body pose is from poses of people: the network of NRDF (Neural Riemannian Distance Fields, He et al. 2024).

Every bone of 21 has a small network over its quaternion and the features of the bone it hangs on; all features go
through one more, which ends in a distance. MBench's Pose_Quality is ten times the mean distance of a motion (spec
mbench, section 6). The weights are NRDF's own release, for the user to find; none come with the toolkit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from mld.errors import CheckpointError, DataError
from mld.models.conversion.keymap import Coverage, KeyMap, fill, shape
from mld.models.conversion.state_dict import read_state_dict

# The bone that each hangs on, -1 for none: SMPL's tree of joints 1..21 without the pelvis.
PARENTS = (-1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 11, 12, 13, 15, 16, 17, 18)
SCALE, SHARPNESS, SMALL_ANGLE = 10.0, 100.0, 1e-6  # of the score; of Softplus; radians below which a series is used
CHECKPOINT = "checkpoint_epoch_best.tar"  # in the published folder, or in its `checkpoints`
_KEYS = KeyMap({"enc.": "enc.", "dfnet.": "dfnet."}, (r"^dec\.",), frozenset())
_AT_ONCE = 4096  # poses


class Bone(nn.Module):
    """Two layers over the features of a bone, (N, width) -> (N, features)."""

    def __init__(self, width: int, hidden: int, features: int) -> None:
        super().__init__()
        layers = nn.Linear(width, hidden), nn.Softplus(SHARPNESS), nn.Linear(hidden, features), nn.Softplus(SHARPNESS)
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Bones(nn.Module):
    """Quaternions (N, 21, 4) -> features of all bones, (N, 21 * features)."""

    def __init__(self, hidden: int, features: int) -> None:
        super().__init__()
        widths = [4 if parent < 0 else 4 + features for parent in PARENTS]
        self.net = nn.ModuleList(Bone(width, hidden, features) for width in widths)

    def forward(self, quaternions: Tensor) -> Tensor:
        found: list[Tensor] = []
        for bone, parent, own in zip(self.net, PARENTS, quaternions.unbind(1)):
            found.append(bone(own if parent < 0 else torch.cat([own, found[parent]], dim=-1)))
        return torch.cat(found, dim=-1)


class PoseDistance(nn.Module):
    """Quaternions (N, 21, 4), w first -> distances (N,), at least 0; weights are named as published.

    hidden, features: widths of a bone's network, 10 and 6 as published; sizes: hidden widths of the network over all
    bones, 256, 512, 1024, 512, 256, 64 as published."""

    def __init__(self, hidden: int, features: int, sizes: Sequence[int]) -> None:
        super().__init__()
        widths = [len(PARENTS) * features, *sizes, 1]
        self.enc = Bones(hidden, features)
        self.dfnet = nn.ModuleDict({f"lin{i}": nn.Linear(*pair) for i, pair in enumerate(zip(widths, widths[1:]))})
        self.activation = nn.Softplus(SHARPNESS)

    def forward(self, quaternions: Tensor) -> Tensor:
        x = self.enc(quaternions)
        for layer in self.dfnet.values():
            x = self.activation(layer(x))
        return x[:, 0]

    @classmethod
    def load(cls, path: str | Path) -> PoseDistance:
        """The published checkpoint, or the folder it is in; also safetensors. A decoder in it is not used.

        `CheckpointError` for a damaged file, and for names or sizes of another network."""
        file = checkpoint_file(Path(path))
        coverage = Coverage()
        own = _KEYS.translate(read_state_dict(file), coverage)
        layers = sorted(int(found[1]) for key in own if (found := re.fullmatch(r"dfnet\.lin(\d+)\.weight", key)))
        ends = ("enc.net.0.net.0.weight", "enc.net.0.net.2.weight")
        if not layers or not all(key in own for key in ends):
            raise CheckpointError(f"{file}: not a pose distance of NRDF; it has no 'dfnet.lin0' or no 'enc.net.0'")
        hidden, features = (shape(own, key, 2, file)[0] for key in ends)
        outs = [shape(own, f"dfnet.lin{layer}.weight", 2, file)[0] for layer in layers]
        if outs[-1] != 1:
            raise CheckpointError(f"{file}: its last layer gives {outs[-1]} numbers, a distance is one")
        fill(network := cls(hidden, features, outs[:-1]), "", own, _KEYS, coverage, file)
        return network

    @torch.no_grad()
    def score(self, poses: Tensor, mode: Literal["strict", "upstream"] = "strict") -> float:
        """Ten times the mean distance of poses (T, J >= 22, 3), rotation vectors of SMPL joints, the root's first.

        strict: joints 1..21, what the network was trained on. upstream: joints 0..20, so that every bone sees the joint
        before it and the heading counts, as in published numbers. `DataError` for no pose and what is not finite."""
        if poses.ndim != 3 or not len(poses) or poses.shape[1] <= len(PARENTS) or poses.shape[2] != 3:
            raise DataError(f"poses have the shape {tuple(poses.shape)}, not (frames, at least 22 joints, 3)")
        if not poses.isfinite().all():
            raise DataError("a pose holds NaN or infinity, so it has no distance; leave that motion out")
        first = 0 if mode == "upstream" else 1
        quaternions = to_quaternions(poses[:, first : first + len(PARENTS)].float())
        device = next(self.parameters()).device
        found = [self(part.to(device)).double().cpu() for part in quaternions.split(_AT_ONCE)]
        return SCALE * float(torch.cat(found).mean())


def to_quaternions(turns: Tensor) -> Tensor:
    """Rotation vectors (..., 3) to quaternions (..., 4), w first; small angles by a series."""
    angle = turns.norm(dim=-1, keepdim=True)
    small = angle < SMALL_ANGLE
    share = torch.where(small, 0.5 - angle.square() / 48, (angle / 2).sin() / angle.masked_fill(small, 1))
    return torch.cat([(angle / 2).cos(), turns * share], dim=-1)


def checkpoint_file(path: Path) -> Path:
    """The file of weights that a path means: itself, or the one in the published folder. `CheckpointError` for none."""
    if not path.is_dir():
        return path
    places = (path / CHECKPOINT, path / "checkpoints" / CHECKPOINT)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise CheckpointError(f"{path}: there is no {CHECKPOINT} in it or in its checkpoints; name the folder of the "
                              "NRDF release")
    return found
