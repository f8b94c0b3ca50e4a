"""Shards: what is written is read again, the same whatever the number of processes, and after an interruption."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.datamodule import MotionDataModule
from mld.data.shards import making
from mld.data.shards.layout import Layout
from mld.data.shards.writing import plan, write_shards
from mld.data.sources.opening import build_source
from mld.data.statistics import measure
from mld.example import CaptionedClip
from mld.motion.representations.registry import get_representation
from prepare.data import main

SIZE = 200_000  # bytes, so that tiny sets have several shards


@pytest.fixture(scope="module")
def made_up() -> ClipSource:
    return build_source(DataConfig(procedural_size=14), "train")


def _opened(out: Path, **settings) -> ClipSource:
    return build_source(DataConfig(source="shards", root=str(out), **settings), "train")


def _files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.*"))}


def _same(one: CaptionedClip, other: CaptionedClip) -> bool:
    fields = ("name", "captions", "caption_tokens", "fps", "label", "history")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_clips_come_back(made_up, tmp_path: Path, dtype) -> None:
    written = write_shards(made_up, "train", tmp_path, dtype, size=SIZE)
    found = _opened(tmp_path)
    assert written.shards > 2 and len(found) == len(made_up)
    assert found.lengths.tolist() == made_up.lengths.tolist() and found.fps == made_up.fps
    root = get_representation("humanml3d").columns("root")
    for index in np.random.default_rng(0).permutation(len(made_up)):
        one, other = made_up[index], found[index]
        assert _same(one, other) and found.captions(index) == made_up.captions(index)
        assert found.clip_name(index) == one.name
        assert other.features.dtype == torch.float32
        assert other.features[:, root].equal(one.features[:, root])
        if dtype == "float32":
            assert other.features.equal(one.features)
        else:  # 11 bits of the difference from the mean, more or less, of the clips around
            far = torch.cat([clip.features for clip in made_up])
            limit = (far - far.mean(0)).abs().amax(0) * 2**-9 + 1e-6
            assert (other.features - one.features).abs().le(limit).all()


@pytest.mark.parametrize("representation", ["humanml3d", "kit", "motion272", "motion276"])
def test_every_representation_is_packed_and_unpacked(representation) -> None:
    layout, known = Layout(representation, 20.0), get_representation(representation)
    features = torch.randn(7, layout.width, generator=torch.Generator().manual_seed(0)) * 0.001 + 1
    features[:, known.columns("contacts")] = 1.0
    centre = layout.centre([features.numpy()])
    again = layout.unpack(*layout.pack(layout.check(features), centre), 7, torch.from_numpy(centre))
    same = known.columns("root", "contacts")
    assert again[:, same].equal(features[:, same]) and same
    assert (again - features).abs().max() < 3e-6
    assert (features.half().float() - features).abs().max() > 3e-4  # what float16 alone would do


def test_tokens_labels_and_history_are_kept(tmp_path: Path, made_up) -> None:
    class Told:
        name, representation, fps, problems = "told train", "humanml3d", 20.0, []
        lengths = np.array([30, 30, 30])
        clips = [
            replace(made_up[0], features=torch.zeros(30, 263), captions=("a", "b c"), caption_tokens=words, history=12)
            for words in ((), ((), ()), (("a/NOUN",), ("b/NOUN", "c/VERB")))
        ]

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> CaptionedClip:
            return self.clips[index]

        def captions(self, index: int) -> tuple:
            return self.clips[index].captions

    write_shards(Told(), "train", tmp_path)
    assert all(_same(one, other) for one, other in zip(Told.clips, _opened(tmp_path)))


def test_bytes_do_not_depend_on_processes_or_interruptions(made_up, tmp_path: Path, monkeypatch) -> None:
    write_shards(made_up, "train", tmp_path / "one", size=SIZE)
    write_shards(made_up, "train", tmp_path / "two", workers=2, size=SIZE)
    made = []

    def stops(source, job):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(job)
        return making.write_shard(source, job)

    monkeypatch.setattr("mld.data.shards.writing.write_shard", stops)
    with pytest.raises(KeyboardInterrupt):
        write_shards(made_up, "train", tmp_path / "three", size=SIZE)
    assert not (tmp_path / "three/train/index.arrow").exists()
    monkeypatch.undo()
    assert write_shards(made_up, "train", tmp_path / "three", size=SIZE).kept == 2
    assert _files(tmp_path / "one") == _files(tmp_path / "two") == _files(tmp_path / "three")


def test_what_is_missing_is_made_again(made_up, tmp_path: Path) -> None:
    first = write_shards(made_up, "train", tmp_path, size=SIZE)
    before = _files(tmp_path)
    (tmp_path / "train/00001.arrow").unlink()
    again = write_shards(made_up, "train", tmp_path, size=SIZE)
    assert again.kept == first.shards - 1 and _files(tmp_path) == before


def test_a_shard_of_changed_clips_is_made_again(made_up, tmp_path: Path) -> None:
    write_shards(made_up, "train", tmp_path, size=SIZE)
    (tmp_path / "train/index.arrow").unlink()
    other = build_source(DataConfig(procedural_size=14), "train")
    other[0].features[3, 100] += 1
    again = write_shards(other, "train", tmp_path, size=SIZE)
    assert again.kept == again.shards - 1
    assert _opened(tmp_path)[0].features[3, 100] == pytest.approx(float(other[0].features[3, 100]), rel=1e-3)


def test_jobs_travel_to_another_process(made_up, tmp_path: Path) -> None:
    jobs = plan(made_up, "train", tmp_path / "train", Layout("humanml3d", 20.0), SIZE)
    assert pickle.loads(pickle.dumps(jobs)) == jobs
    assert [job.first for job in jobs[1:]] == [job.last for job in jobs[:-1]] and jobs[-1].last == len(made_up)


def test_the_source_travels_and_forgets_its_maps(made_up, tmp_path: Path, monkeypatch) -> None:
    write_shards(made_up, "train", tmp_path, size=SIZE)
    found = _opened(tmp_path)
    expected = [clip.features for clip in found]
    again = pickle.loads(pickle.dumps(found))
    monkeypatch.setattr("mld.data.sources.shards.MAPPED", 1.0)
    monkeypatch.setattr("mld.data.sources.shards.FILES", 2)
    assert all(clip.features.equal(features) for clip, features in zip(again, expected, strict=True))
    assert len(again._open) == 2


def test_lengths_are_gated_and_told(made_up, tmp_path: Path) -> None:
    write_shards(made_up, "train", tmp_path, size=SIZE)
    middle = int(np.median(made_up.lengths))
    found = _opened(tmp_path, min_frames=middle, max_frames=middle + 20)
    assert 0 < len(found) < len(made_up)
    kept = np.flatnonzero((made_up.lengths >= middle) & (made_up.lengths <= middle + 20))
    assert [clip.name for clip in found] == [made_up[index].name for index in kept]
    assert f"shorter than {middle} frames" in found.report() and "longer than" in found.report()
    assert found.fingerprint != _opened(tmp_path).fingerprint and found.moments is None


def test_the_fingerprint_is_of_the_clips(made_up, tmp_path: Path) -> None:
    """Of every number and every word; not of the folder."""
    other = build_source(DataConfig(procedural_size=14), "train")
    for name, source in (("one", made_up), ("moved", made_up), ("other", other)):
        if name == "other":
            other[5].features[1, 200] += 1
        write_shards(source, "train", tmp_path / name, size=SIZE)
    prints = {name: _opened(tmp_path / name).fingerprint for name in ("one", "moved", "other")}
    assert prints["one"] == prints["moved"] != prints["other"]


def test_statistics_are_known_without_reading(made_up, tmp_path: Path, monkeypatch) -> None:
    write_shards(made_up, "train", tmp_path, "float32", size=SIZE)
    found, expected = _opened(tmp_path), measure(made_up)
    monkeypatch.setattr(type(found), "__getitem__", lambda *_: pytest.fail("a clip was read"))
    measured = measure(found)
    assert torch.allclose(measured.mean, expected.mean, atol=1e-6) and torch.allclose(measured.std, expected.std)


@pytest.mark.parametrize("kind", ["features", "examples", "pairs"])
def test_training_batches_are_those_of_the_source(made_up, tmp_path: Path, kind) -> None:
    write_shards(made_up, "train", tmp_path, "float32", size=SIZE)
    settings = {"batch_size": 4, "instructions": "pretrain"}
    ours = MotionDataModule(DataConfig(source="shards", root=str(tmp_path), **settings), kind)
    theirs = MotionDataModule(DataConfig(procedural_size=14, **settings), kind)
    for one, other in zip(ours.train_dataloader(), theirs.train_dataloader()):
        if kind == "examples":
            assert [example.name for example in one] == [example.name for example in other]
        else:
            assert one.features.equal(other.features) and one.mask.equal(other.mask)


def test_a_mixture_may_hold_shards(made_up, tmp_path: Path) -> None:
    write_shards(made_up, "train", tmp_path, size=SIZE)
    entries = [{"source": "shards", "root": str(tmp_path), "name": "large"}, {"source": "procedural", "weight": 2.0}]
    from mld.data.config import SourceEntry

    mixed = build_source(DataConfig(sources=[SourceEntry(**entry) for entry in entries]), "train")
    assert mixed[3].name == f"large/{made_up[3].name}"


def test_the_command_writes_every_split(joints_folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    command = ["shards", "--source", "joints", "--root", str(joints_folder), "--out", str(out), "--mirror"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "8 clips in 1 shard\n" in told and f"data.source=shards data.root={out}" in told
    assert main(command) == 0 and "1 of them from before" in capsys.readouterr().out
    for split in ("train", "val", "test"):
        source = build_source(DataConfig(source="joints", root=str(joints_folder), mirror=True), split)
        found = build_source(DataConfig(source="shards", root=str(out)), split)
        assert all(_same(one, other) for one, other in zip(source, found, strict=True))
    assert main(["doctor", "--source", "shards", "--root", str(out)]) == 0
    assert "nothing to complain about" in capsys.readouterr().out


def test_the_index_is_an_arrow_table(made_up, tmp_path: Path) -> None:
    """Other tools read both kinds of files."""
    import pyarrow as pa

    write_shards(made_up, "train", tmp_path, size=SIZE)
    table = pa.ipc.open_file(str(tmp_path / "train/index.arrow")).read_all()
    assert table.column("frames").to_pylist() == made_up.lengths.tolist()
    known = json.loads(table.schema.metadata[b"mld"])
    rows = [pa.ipc.open_file(str(tmp_path / "train" / shard["file"])).read_all() for shard in known["shards"]]
    assert sum(map(len, rows)) == len(made_up) and rows[0].column("captions")[0].as_py() == list(made_up[0].captions)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_batch_is_read_at_once_as_clip_by_clip(made_up, tmp_path: Path, dtype) -> None:
    write_shards(made_up, "train", tmp_path, dtype, size=SIZE)
    found = _opened(tmp_path, min_frames=int(np.median(made_up.lengths)))
    indices = np.random.default_rng(1).permutation(len(found)).tolist()
    for index, (name, features) in zip(indices, found.features(indices), strict=True):
        assert name == found[index].name and features.equal(found[index].features)
