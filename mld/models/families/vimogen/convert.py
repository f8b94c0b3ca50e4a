"""Published ViMoGen weights into ours, ours into the published layout, and start weights of Wan2.1 (spec 3.4, 3.5).

The network is one file, statistics are two more. Sizes come from the shapes; heads, which no shape tells, from the
published size, from a description beside the file, or from the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, representation_for, shape
from mld.models.conversion.settings import HEADS, overridden, settled, told_beside
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.vimogen.config import SIZES, ViMoGenConfig
from mld.models.families.vimogen.model import ViMoGen
from mld.models.families.vimogen.statistics import FULL, check_release
from mld.models.positions import sinusoids
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.models.usable import fault
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

KEYS = Path(__file__).with_name("keymap.yaml")
MODEL_FILE, DESCRIPTION, STATISTICS = "model.pt", "model_index.json", "assets/meta"  # of a folder that is handed on
WAN_FILE, WAN_CONFIG = "diffusion_pytorch_model.safetensors", "config.json"
POSITIONS = ("motion_pos_embedding.pe", "ref_motion_pos_embedding.pe")  # tables of sinusoids in published files
RELEASE = "release="  # a setting of the statistics
OF = "transformer."
WAN_REPRESENTATION = "motion276"
_NEEDED = ("embed.weight", "text_embed.0.weight", "time.embed.0.weight", "head.out.weight", "blocks.0.mlp.0.weight")
_ROUNDED = 0.01  # tables of positions may lie in half precision


@cache
def keymap() -> KeyMap:
    """Published names and ours."""
    return KeyMap.load(KEYS)


def import_vimogen(
    file: Path, stats: Path, text: TextEncoder, settings: Sequence[str] = (), as_published: bool = False
) -> tuple[ViMoGen, Coverage]:
    """A published network over its statistics and a text encoder. file: `model.pt`, or a folder with it. stats: folder
    with mean.npy and std.npy.

    settings: "key=value" of `ViMoGenConfig`, and release=december for weights of that time (see `statistics`)."""
    coverage = Coverage()
    file = file / MODEL_FILE if file.is_dir() else file
    state = read_state_dict(file, coverage.notes)
    own = keymap().translate(state, coverage)
    _require(own, _NEEDED, f"{file}: no ViMoGen network in it")
    found = _sizes(own, file) | _positions(state, own, file)
    found |= {"references": OF + "reference_embed.weight" in own, "reference_layers": _layers(own, "reference_blocks")}
    _check_layers(found, settings, file)
    model = _model(found, shape(own, OF + "embed.weight", 2, file)[1], file, stats, text, settings, coverage,
                   DESCRIPTION, as_published)  # fmt: skip
    if model.config.references:
        _check_width(model, shape(own, OF + "reference_embed.weight", 2, file)[1], file)
    fill(model, "", own, keymap(), coverage, file)
    return model, coverage


def start_from_wan(
    file: Path, stats: Path, text: TextEncoder, settings: Sequence[str] = (), seed: int = 0
) -> tuple[ViMoGen, Coverage]:
    """A network to train: what Wan2.1's text-to-video transformer has in common with it, the rest random.

    file: its safetensors file, or the folder with it. Other arguments as of `import_vimogen`."""
    coverage = Coverage()
    file = file / WAN_FILE if file.is_dir() else file
    of_videos = tuple(yaml.safe_load(KEYS.read_text(encoding="utf-8"))["of_videos"])
    own = replace(keymap(), ignored=of_videos).translate(read_state_dict(file, coverage.notes), coverage)
    _require(own, [key for key in _NEEDED if not _of_motions(OF + key)], f"{file}: no Wan2.1 transformer in it")
    found = _sizes(own, file)
    found |= {"reference_layers": max(found["layers"] // 2, 1)}
    torch.manual_seed(seed)
    width = get_representation(WAN_REPRESENTATION).width
    model = _model(found, width, file, stats, text, settings, coverage, WAN_CONFIG, False)
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith(OF)}
    shared = [name for name in wanted if not _of_motions(name)]
    for name, value in own.items():
        what = "not of this network" if name not in shared else fault(value, wanted[name])
        if name in shared and value.shape != wanted[name].shape:
            what = f"of shape {tuple(value.shape)}, {tuple(wanted[name].shape)} is needed"
        if what:
            coverage.unexpected.append(f"{name} {what}")
    coverage.missing += [name for name in shared if name not in own]
    coverage.require_complete(file)
    model.load_state_dict(own, strict=False)
    coverage.loaded += list(own)
    new = sum(wanted[name].numel() for name in wanted if name not in own)
    coverage.notes.append(f"{len(wanted) - len(own)} tensors with {new:,} numbers have no counterpart and are random")
    return model.eval(), coverage


def published_state(model: ViMoGen) -> dict[str, Tensor]:
    """The network's state dict under published names, tables of positions included; `CheckpointError` where it
    foretells clean frames, which a published loop would take for velocities, or has what published ones have not."""
    if model.config.prediction != "velocity":
        raise CheckpointError(f"prediction={model.config.prediction}: published files foretell velocities")
    if model.config.patch != 1:
        raise CheckpointError(f"patch={model.config.patch}: published files have one frame to a position")
    for name in ("pool_texts", "text_order"):
        if getattr(model.config, name):
            raise CheckpointError(f"{name}: published files have no such weights")
    if len(model.tokenizer.columns) < get_representation(model.tokenizer.representation).width:
        raise CheckpointError("tokenizer.roles: published files hold all columns")
    own = {name: value for name, value in model.state_dict().items() if name.startswith(OF)}
    table = model.transformer.places[:, None]
    tables = POSITIONS if model.config.references else POSITIONS[:1]
    return keymap().published(own) | {name: table.clone() for name in tables}


def losses(model: ViMoGen) -> list[str]:
    """What a reader of the exported file does not get, in words."""
    usual = f"where nobody names a length, motions have {model.config.default_frames} frames"
    return [] if model.lengths is None else [f"the length head is left out: {usual}"]


def settings_of(model: ViMoGen) -> list[str]:
    """Settings that an import of an exported model needs, as neither shapes nor published values tell them."""
    c = model.config
    kept = {"text_rows": c.text_rows, "guidance_scale": c.guidance_scale, "guidance_from": c.guidance_from,
            "shift": c.shift, "strength": c.strength,
            "num_inference_steps": c.num_inference_steps, "default_frames": c.default_frames,
            "reconcile": c.reconcile}  # fmt: skip
    usual = ViMoGenConfig()
    told = [f"{name}={value}" for name, value in kept.items() if value != getattr(usual, name)]
    sizes = model.transformer.config
    if c.references and sizes.reference_layers != sizes.layers // 2:
        told.append(f"reference_layers={sizes.reference_layers}")
    return [f"heads={sizes.heads}", *told]


def _model(
    found: dict[str, Any], width: int, file: Path, stats: Path, text: TextEncoder, settings: Sequence[str],
    coverage: Coverage, description: str, as_published: bool,
) -> ViMoGen:  # fmt: skip
    """A network of the sizes `found` over statistics of frames of that width."""
    releases = [setting.removeprefix(RELEASE) for setting in settings if setting.startswith(RELEASE)]
    rest = [setting for setting in settings if not setting.startswith(RELEASE)]
    representation = get_representation(representation_for(width, file))
    statistics = Normalizer.load(stats, "data").check(representation)
    coverage.notes.append(check_release(statistics, releases[-1] if releases else FULL, str(stats)))
    wanted = found.pop("text_width")
    if wanted != text.width:
        raise CheckpointError(
            f"{file}: reads text features of width {wanted}, those of '{text.source}' have {text.width}; name the right"
            " --text-encoder"
        )
    named = _named(found)
    if named is None:
        found["heads"] = told_beside(file.with_name(description), HEADS)
        if found["heads"] is None:
            settled({"heads": None}, rest, file, coverage.notes, False, as_published)
    else:
        coverage.notes.append(f"of the published size {named}: {SIZES[named].heads} heads")
    config = typed(ViMoGenConfig, overridden(found | {"size": named or "1.3B"}, rest), "--set")
    frames = FramesConfig(representation.name, normalizer="data")
    return ViMoGen(config, Frames(frames, statistics), text)


def _require(own: Mapping[str, Tensor], needed: Sequence[str], complaint: str) -> None:
    if missing := [OF + key for key in needed if OF + key not in own]:
        (theirs,) = keymap().published({missing[0]: torch.empty(0)})
        raise CheckpointError(f"{complaint} ({theirs} is missing)")


def _sizes(own: Mapping[str, Tensor], file: Path) -> dict[str, Any]:
    """What shapes tell of a network, with the width of its text features."""
    width, text_width = shape(own, OF + "text_embed.0.weight", 2, file)
    return {
        "layers": _layers(own, "blocks"), "width": width, "ffn": shape(own, OF + "blocks.0.mlp.0.weight", 2, file)[0],
        "time_waves": shape(own, OF + "time.embed.0.weight", 2, file)[1], "text_width": text_width,
    }  # fmt: skip


def _layers(own: Mapping[str, Tensor], name: str) -> int:
    return count(own, rf"transformer\.{name}\.(\d+)\..*")


def _named(found: Mapping[str, Any]) -> str | None:
    """The published size of these sizes."""
    size = SIZES["1.3B"]
    same = all(found[name] == getattr(size, name) for name in ("layers", "width", "ffn"))
    return "1.3B" if same else None


def _positions(state: Mapping[str, Tensor], own: Mapping[str, Tensor], file: Path) -> dict[str, int]:
    """How many positions the tables in the file have, if it has them. `CheckpointError` where they are no sinusoids."""
    width = shape(own, OF + "text_embed.0.weight", 2, file)[0]
    found = {}
    for name in (name for name in POSITIONS if name in state):
        rows = shape(state, name, 3, file)[0]
        table = sinusoids(rows, width)
        if state[name].shape != (rows, 1, width) or not torch.allclose(state[name][:, 0].float(), table, atol=_ROUNDED):
            raise CheckpointError(f"{file}: {name} is not the sinusoid of positions; damaged, or another network's")
        found["positions"] = rows
    return found


def _check_layers(found: Mapping[str, Any], settings: Sequence[str], file: Path) -> None:
    """A file that lost layers of its encoder of references would look like a network with fewer of them."""
    layers, usual = found["reference_layers"], found["layers"] // 2
    told = f"reference_layers={layers}"
    if found["references"] and layers != usual and told not in settings:
        raise CheckpointError(f"{file}: {layers} layers read references, of {found['layers']} published networks have "
                              f"{usual}; damaged, or a network of its own: --set {told}")  # fmt: skip


def _check_width(model: ViMoGen, found: int, file: Path) -> None:
    if found != (wanted := model.transformer.config.reference_channels):
        raise CheckpointError(
            f"{file}: reads references of {found} columns; those of '{model.representation}' have {wanted}"
        )


def _of_motions(name: str) -> bool:
    """Whether a weight of ours has no counterpart in a network for videos."""
    return name.startswith((OF + "embed.", OF + "head.")) or "reference_" in name
