"""Files that go or shrink while a model trains are named in one line, with and without workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mld.data.datamodule import MotionDataModule
from mld.errors import DataError
from tests.data.conftest import humanml3d_config


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["features", "examples", "pairs"])
@pytest.mark.parametrize("harm", ["deleted", "shortened", "cut"])
def test_a_file_changes_during_training(harm: str, kind: str, workers: int, humanml3d_folder: Path) -> None:
    cfg = humanml3d_config(humanml3d_folder, batch_size=2, window=48, num_workers=workers)
    module = MotionDataModule(cfg, kind, seed=5)
    loader = module.train_dataloader()
    assert len(list(loader)) == 2
    file = humanml3d_folder / "new_joint_vecs" / "walk2.npy"
    if harm == "deleted":
        file.unlink()
    elif harm == "shortened":
        np.save(file, np.load(file)[:20])
    else:
        file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(DataError, match="walk2.npy: ") as raised:
        list(loader)
    assert str(raised.value).startswith(str(file)) and "worker" not in str(raised.value)
