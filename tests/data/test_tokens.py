"""Token folders: one file per dataset file, stretches for timed captions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.sources.opening import build_source
from mld.data.tokens import read_tokens, segment_tokens
from mld.errors import DataError
from tests.data.conftest import humanml3d_config, write_features, write_texts


def test_a_timed_stretch_gets_its_tokens() -> None:
    tokens = torch.arange(98).reshape(2, 49)
    assert segment_tokens(tokens, 22, 110, 4).tolist() == [list(range(5, 27)), list(range(54, 76))]


def test_a_folder_of_tokens_serves_clips_and_stretches(humanml3d_folder: Path, tmp_path: Path) -> None:
    write_features(humanml3d_folder, "walk0", 100)
    write_texts(humanml3d_folder, "walk0", "all#a/B#0.0#0.0\npart#a/B#1.0#4.0\n")
    folder = tmp_path / "TOKENS"
    folder.mkdir()
    for name in ("walk0", "walk1", "walk2"):
        np.save(folder / f"{name}.npy", np.arange(25)[None])
    np.save(folder / "walk3.npy", np.arange(12))
    source = build_source(humanml3d_config(humanml3d_folder), "train")
    tokens = read_tokens(folder, source)
    assert tokens["walk0"].shape == (1, 25) and tokens["A_walk0"].tolist() == [list(range(5, 20))]
    assert tokens["walk3"].dtype == torch.int64
    np.save(folder / "walk3.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="tokens are integers"):
        read_tokens(folder, source)
    (folder / "walk3.npy").unlink()
    with pytest.raises(DataError, match="not a readable file"):
        read_tokens(folder, source)
