"""Parity of ViMoGen's data: training items out of a folder in the published layout, and reference items at 16 fps."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from mld.data.config import DataConfig
from mld.data.datamodule import InstructionExamples
from mld.data.sources.json_list import JsonListSource
from mld.example import Example, Reference, Text
from mld.models.contracts.text_encoder import TextFeatures
from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.model import ViMoGen
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.rates import linear_columns
from mld.motion.representations.registry import get_representation
from tests.parity.harness import Case, runner

MOTION276 = get_representation("motion276")


class Stored:
    """Stands for the text encoder: features by text, as the case has them."""

    source, sentence_width = "stored", 1

    def __init__(self, known: Mapping[str, Tensor]) -> None:
        self.known, self.width = known, next(iter(known.values())).shape[1]

    def encode(self, texts: Sequence[str], device: Any = "cpu") -> list[TextFeatures]:
        return [TextFeatures(self.known[text], torch.zeros(1)) for text in texts]


def _model(case: Case, texts: Mapping[str, Tensor]) -> ViMoGen:
    normalizer = Normalizer(case.tensor("mean"), case.tensor("std"), "data").check(MOTION276)
    tokenizer = Frames(FramesConfig(representation="motion276"), normalizer)
    small = ViMoGenConfig(layers=2, heads=2, width=8, ffn=8, reference_layers=1,
                          text_rows=case.config.get("prompt_rows", 226),
                          text_dropout=case.config.get("uncond_prob", 0.5))  # fmt: skip
    return ViMoGen(small, tokenizer, Stored(texts))


@runner("vimogen.ref_item")
def ref_item(case: Case) -> Mapping[str, Any]:
    config, model = case.config, _model(case, {"": torch.zeros(1, 8)})
    raw = linear_columns(case.tensor("raw_motion"), config["source_fps"], config["target_fps"])
    columns = [i for start, stop in config["ref_motion_columns"] for i in range(start, stop)]
    assert columns == model.led_by
    return {
        "motion": model.tokenizer.normalize(raw),
        "ref_motion": model._reference([Reference(raw)]),
        "t2m_motion_first_frame": model.tokenizer.normalize(torch.zeros(1, MOTION276.width))[0],
        "t2m_length": torch.tensor(model.config.default_frames),
    }


@runner("vimogen.data.train_item")
def train_item(case: Case) -> Mapping[str, Any]:
    config, listed = case.config, _listed(case)
    paths, items = case.arrays[f"{listed}#paths"], case.arrays[f"{listed}#items"]
    texts = {f"text {name}": _embedding(case, name) for name in case.arrays[f"{listed}#embedding_rows"]}
    model = _model(case, {**texts, "": case.tensor("null_context")})
    with tempfile.TemporaryDirectory() as folder:
        examples = InstructionExamples(_source(case, Path(folder)), _config(case, folder), None)
        source = examples.source
        assert len(source.problems) == 0, source.problems
        place = {source[index].name: index for index in range(len(source))}
        drawn = {item["item"]: _drawn(examples, place[item["motion"]], item["u_branch"]) for item in items}
    found: dict[str, Any] = {
        f"{listed}#items": [_record(model, item, drawn[item["item"]]) for item in items],
        f"{listed}#rejected": [name for name in paths if name not in place],
    }
    for name in config["batch"]:
        rows = model.eval().rows([drawn[name]])
        found |= {f"motion_out/{name}": rows.clean[0], f"ref_motion/{name}": rows.references[0],
                  f"motion_dim_mask/{name}": rows.counted[0].float()}  # fmt: skip
    batch = model.rows([drawn[name] for name in config["batch"]])
    by_name = {item["item"]: item for item in items}
    found["batch_prompt_emb"] = model.filled(_texts(model, [by_name[name] for name in config["batch"]]))[0]
    # Rows that follow their text do not look at a reference; the published mask is that of their frames.
    seen = torch.where(batch.by_text[:, None], batch.mask, batch.reference_mask)
    return found | {"batch_motion": batch.clean, "batch_motion_mask": batch.mask, "batch_ref_motion_mask": seen,
                    "batch_attend_to_text": batch.by_text}  # fmt: skip


def _listed(case: Case) -> str:
    return case.spec["extra_data"][0]


def _embedding(case: Case, name: str) -> Tensor:
    key = f"embedding/{name}"
    rows = case.arrays[f"{_listed(case)}#embedding_rows"][name]
    return case.tensor(key) if key in case.arrays else torch.ones(rows, case.tensor("null_context").shape[1])


def _source(case: Case, folder: Path) -> JsonListSource:
    """A folder with the clips of the case under their paths; of those whose numbers are not stored, zeros."""
    entries = []
    for name, path in case.arrays[f"{_listed(case)}#paths"].items():
        (folder / path).parent.mkdir(exist_ok=True)
        frames = case.arrays[f"{_listed(case)}#lengths"][name]
        known = f"motion/{name}" in case.arrays
        rows = case.tensor(f"motion/{name}") if known else torch.zeros(frames, MOTION276.width)
        if path.endswith(".npy"):
            np.save(folder / path, rows.numpy())
        else:
            torch.save({"motion": rows} if name == "e" else rows, folder / path)
        entries += [{"id": name, "motion_path": path, "split": "train", "video_text_annot": f"text {name}"}]
    others = [{**entries[0], "id": split, "split": split} for split in ("val", "test")]
    (folder / "list.json").write_text(json.dumps([*entries, *others]))
    return JsonListSource(_config(case, str(folder)), "train")


def _config(case: Case, folder: str) -> DataConfig:
    share = case.config["t2m_prob_default"]
    return DataConfig(
        source="json", root=folder, representation="motion276", min_frames=case.config["min_frames"],
        max_frames=case.config["max_frames"], unit_length=1, token_drop_probability=0.0, quote_probability=0.0,
        text_keys=["video_text_annot"], path_rules=True, instructions="flow",
        tasks={"Text-to-Motion": share, "Motion-to-Motion": 1 - share},
    )  # fmt: skip


def _drawn(examples: InstructionExamples, index: int, uniform: float) -> Example:
    clip = examples.source[index]
    subtask = examples.mixture.at(uniform, clip.text_share)
    return examples.instructions.draw(subtask, clip, np.random.default_rng(0), examples.cfg)


def _texts(model: ViMoGen, items: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    """Features of the texts of items, of which training drops some, with the draws of the case."""
    told = [Example((Text(f"text {item['motion']}"),), ()) for item in items]
    with mock.patch("torch.rand", return_value=torch.tensor([item["u_text"] for item in items], dtype=torch.float64)):
        return model.train().texts([True] * len(items), told)


def _record(model: ViMoGen, item: Mapping[str, Any], drawn: Example) -> dict[str, Any]:
    (text,), row = _texts(model, [item]), model.eval().rows([drawn])
    return {
        **{name: item[name] for name in ("item", "motion", "path", "u_branch", "u_text")},
        "attend_to_text": bool(row.by_text[0]), "reference_is_zero": not bool(row.references.any()),
        "supervised_columns": int(row.counted.sum()),
        "prompt": "null" if torch.equal(text, model.null_text()) else "embedding",
        "prompt_rows": model.filled([text])[0].shape[1], "frames": int(row.mask.sum()),
    }  # fmt: skip
