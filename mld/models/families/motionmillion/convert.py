"""Published MotionMillion transformers into ours, and ours into the published layout (MotionMillion spec 3.2, 11).

The tokenizer is a file of its own. Sizes come from the shapes; heads, which no shape tells, from the published size of
so many layers and that width, from a `mm_config.json` beside the file, or from the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mld.config import typed
from mld.errors import CheckpointError
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.conversion.keymap import Coverage, KeyMap, count, fill, shape
from mld.models.conversion.settings import HEADS, overridden, settled, told_beside
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.motionmillion.config import SIZES, MotionMillionConfig
from mld.models.families.motionmillion.model import MotionMillion

KEYS = Path(__file__).with_name("keymap.yaml")
PACKAGE_FILE, PACKAGE_CONFIG = "ar.safetensors", "mm_config.json"  # of folders in which others publish the weights
TOKENIZER = "tokenizer."
_NEEDED = ("embed.weight", "text_embed.weight", "transformer.ln_f.scale", "transformer.h.0.attn.c_attn.weight")


@cache
def keymap() -> KeyMap:
    """Published names and ours."""
    return KeyMap.load(KEYS)


def import_motionmillion(
    file: Path, tokenizer: MotionTokenizer, text: TextEncoder, settings: Sequence[str] = (), as_published: bool = False
) -> tuple[MotionMillion, Coverage]:
    """A published transformer over its tokenizer and text encoder. file: `net_*.pth`, a safetensors file, or a folder
    with `ar.safetensors`.

    settings: "key=value" of `MotionMillionConfig`. Sampling is as published, greedy, but up to 150 codes."""
    coverage = Coverage()
    if file.is_dir():
        file = file / PACKAGE_FILE
    read = keymap().translate(read_state_dict(file, coverage.notes), coverage)
    own, tied = own_weights(read, str(file)), "head.weight" in read or "tie_head=true" in settings
    if missing := [key for key in _NEEDED if key not in own]:
        raise CheckpointError(f"{file}: no MotionMillion transformer in it ({', '.join(missing[:3])} missing)")
    if "head.weight" not in own and not tied:
        told = "of a model that reads and writes codes by one table, give --set tie_head=true"
        raise CheckpointError(f"{file}: lm_head.weight is missing; {told}")
    config = typed(MotionMillionConfig, overridden(_config(own, file, settings, as_published, coverage), settings),
                   "--set")  # fmt: skip
    codes, width = shape(own, "embed.weight", 2, file)[0] - 2, shape(own, "text_embed.weight", 2, file)[1]
    if codes != tokenizer.layout.codebook_size:
        raise CheckpointError(
            f"{file}: writes {codes} codes, the tokenizer has {tokenizer.layout.codebook_size}; name the right --fsq"
        )
    if width != text.width:
        raise CheckpointError(
            f"{file}: reads text features of width {width}, those of '{text.source}' have {text.width}; name the right"
            " --text-encoder"
        )
    model = MotionMillion(config, tokenizer, text)
    own |= {TOKENIZER + name: value for name, value in tokenizer.state_dict().items()}
    fill(model, "", own, keymap(), coverage, file)
    coverage.notes.append("sampling is greedy, as published, up to 150 codes; --mode upstream stops at 50")
    return model, coverage


def own_weights(own: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Weights under our names; of one table that both reads and writes codes, one copy."""
    head, table = own.get("head.weight"), own.get("embed.weight")
    if head is None or table is None or head.shape != table.shape:
        return dict(own)
    if not torch.equal(head, table):
        raise CheckpointError(f"{where}: its head has a row for padding, as one that is tied, but other weights")
    return {name: value for name, value in own.items() if name != "head.weight"}


def _config(
    own: Mapping[str, Tensor], file: Path, settings: Sequence[str], as_published: bool, coverage: Coverage
) -> dict[str, Any]:
    """`MotionMillionConfig` as far as the file and what lies beside it tell, as plain values."""
    layers, width = count(own, r"transformer\.h\.(\d+)\..*"), shape(own, "transformer.ln_f.scale", 1, file)[0]
    name = next((name for name, (deep, _, wide) in SIZES.items() if (deep, wide) == (layers, width)), None)
    usual = MotionMillionConfig()
    greedy = asdict(replace(usual.motion_generation, do_sample=False, top_k=0))
    found = {"tie_head": "head.weight" not in own, "motion_generation": greedy}
    if name is not None:
        coverage.notes.append(f"of the published size {name}: {SIZES[name][1]} heads")
        return {**found, "size": name}
    heads = told_beside(file.with_name(PACKAGE_CONFIG), HEADS)
    if heads is None:
        settled({"heads": None}, settings, file, coverage.notes, False, as_published)
    return {**found, "layers": layers, "width": width, "heads": heads}


def published_state(model: MotionMillion) -> dict[str, Tensor]:
    """The transformer's state dict under published names; a tied table stands there twice."""
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(TOKENIZER)}
    if model.head is None:
        own["head.weight"] = own["embed.weight"].clone()
    return keymap().published(own)
