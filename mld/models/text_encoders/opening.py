"""Which family a text encoder is of, by its folder."""

from __future__ import annotations

from pathlib import Path

from mld.errors import CheckpointError
from mld.files import parse_json
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.registry import FAMILIES, find
from mld.models.text_encoders.bert import NAMED
from mld.models.text_encoders.t5 import module_folder
from mld.models.text_encoders.umt5 import published_file
from mld.reading import read_text

AUTO = "auto"
STORED = "features.json"  # in a folder of features that were made beforehand
FAMILY_OF_TYPE = {
    **dict.fromkeys(("bert", "distilbert", "roberta", "xlm-roberta", "mpnet", "electra", "albert"), "bert"),
    "t5": "t5", "umt5": "umt5", "clip": "clip", "clip_text_model": "clip",
}  # fmt: skip


def open_text_encoder(
    source: str, family: str = AUTO, identity: str = "", dtype: str = "float32", width: int | None = None
) -> TextEncoder:
    """The text encoder of a folder, a hub id, "minilm" or "packed_minilm". Its weights are not read yet.

    family: one of the registry, or "auto": as config.json (and modules.json) of the folder say. width: of its token
    features, where that is known; it is checked when they are first computed."""
    if family == AUTO:
        # Of a hub id only the small files are needed to tell.
        family = "bert" if source in NAMED else family_of(pretrained_folder(source, weights=False))
    return find("text_encoder", family)(source, identity, dtype=dtype, widths=(width, None))


def family_of(folder: Path) -> str:
    """The family of a folder; `CheckpointError` when it is of none."""
    if (folder / STORED).is_file():
        return "stored"
    if published_file(folder) is not None or (folder / "google" / "umt5-xxl").is_dir():
        return "umt5"
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{folder}: not a text encoder, config.json is missing")
    try:
        kind = parse_json(read_text(file)).get("model_type", "")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{file}: not readable as a config") from error
    if kind == "t5" and module_folder(folder, "Dense") is not None:
        return "sentence_t5"
    if kind not in FAMILY_OF_TYPE:
        known = ", ".join(FAMILIES["text_encoder"])
        raise CheckpointError(f"{file}: no family of text encoders is known for a '{kind}'; name it ({known})")
    return FAMILY_OF_TYPE[kind]
