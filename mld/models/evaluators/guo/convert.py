"""Guo's published finest.tar (evaluation spec 1): sizes come from the shapes, nothing is missing or left over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mld.errors import CheckpointError
from mld.models.conversion.keymap import Coverage, KeyMap, fill, representation_for
from mld.models.conversion.state_dict import read_parts
from mld.models.evaluators.guo.model import CONTACT_COLUMNS, GuoConfig, GuoEvaluator
from mld.models.evaluators.guo.vectorizer import WordVectors
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

KEYS = Path(__file__).with_name("keymap.yaml")


def import_guo(file: Path, stats: Path, words: Path) -> tuple[GuoEvaluator, Coverage]:
    """finest.tar. stats: the evaluator's mean.npy and std.npy. words: folder of the published word vectors."""
    keymap, coverage = KeyMap.load(KEYS), Coverage()
    own = keymap.translate(read_parts(file), coverage)
    config = guo_config(own, file)
    vectors = WordVectors.load(words)
    if vectors.vectors.shape[1] != config.word_dim:
        raise CheckpointError(
            f"{words}: word vectors of width {vectors.vectors.shape[1]}, the text encoder reads {config.word_dim}"
        )
    normalizer = Normalizer.load(stats, "guo_eval").check(get_representation(config.representation))
    return fill(GuoEvaluator(config, vectors, normalizer), "", own, keymap, coverage, file), coverage


def guo_config(weights: Mapping[str, Tensor], file: Path) -> GuoConfig:
    """Sizes from the shapes of the three networks; `CheckpointError` when one of them is not there."""
    shapes = {}
    for key in ("movement_encoder.main.0", "movement_encoder.main.3", "motion_encoder.input_emb",
                "motion_encoder.output_net.3", "text_encoder.input_emb"):  # fmt: skip
        if f"{key}.weight" not in weights:
            raise CheckpointError(f"{file}: no {key}.weight in it; this is not a published text/motion matcher")
        shapes[key] = weights[f"{key}.weight"].shape
    nfeats = shapes["movement_encoder.main.0"][1] + CONTACT_COLUMNS
    return GuoConfig(
        representation=representation_for(nfeats, file), movement_hidden=shapes["movement_encoder.main.0"][0],
        movement_latent=shapes["movement_encoder.main.3"][0], motion_hidden=shapes["motion_encoder.input_emb"][0],
        text_hidden=shapes["text_encoder.input_emb"][0], word_dim=shapes["text_encoder.input_emb"][1],
        embedding_dim=shapes["motion_encoder.output_net.3"][0],
    )  # fmt: skip
