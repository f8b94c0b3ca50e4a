"""A run over shards writes down one hash of its clips, and refuses others."""

from __future__ import annotations

from pathlib import Path

import pytest

from mld.data.config import DataConfig, SourceEntry
from mld.data.shards.writing import write_shards
from mld.data.sources.opening import build_source
from mld.errors import ConfigError
from mld.training.clips_seen import check_clips


def _written(out: Path, clips: int, seed: int = 0) -> Path:
    source = build_source(DataConfig(procedural_size=clips, procedural_seed=seed), "train")
    write_shards(source, "train", out)
    return out


def test_the_data_of_a_run_is_known_without_reading_it(tmp_path: Path, monkeypatch) -> None:
    one, same, other = _written(tmp_path / "one", 4), _written(tmp_path / "same", 4), _written(tmp_path / "other", 4, 1)
    sources = [build_source(DataConfig(source="shards", root=str(root)), "train") for root in (one, same, other)]
    monkeypatch.setattr(type(sources[0]), "__getitem__", lambda *_: pytest.fail("a clip was read"))
    table = tmp_path / "clips.csv"
    check_clips(table, sources[0], sources[0], begun=False)
    assert len(table.read_text().splitlines()) == 3
    check_clips(table, sources[1], sources[1], begun=True)
    with pytest.raises(ConfigError, match="the data is not what this run began with"):
        check_clips(table, sources[2], sources[0], begun=True)


def test_a_mixture_of_shards_has_a_fingerprint(tmp_path: Path) -> None:
    one, other = _written(tmp_path / "one", 4), _written(tmp_path / "other", 4, 1)

    def mixed(*roots: Path):
        return build_source(DataConfig(sources=[SourceEntry("shards", str(root)) for root in roots]), "train")

    assert mixed(one, other).fingerprint != mixed(other, one).fingerprint
    entries = [SourceEntry("shards", str(one)), SourceEntry("procedural", procedural_size=3)]
    assert build_source(DataConfig(sources=entries), "train").fingerprint is None
