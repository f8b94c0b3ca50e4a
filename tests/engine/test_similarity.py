"""Similarity of texts and motions, long motions in windows, and the index over a folder with its cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mld
from mld.checkpoint import save_model
from mld.engine.search.index import MotionIndex, motion_files
from mld.engine.search.similarity import Similarity, windows
from mld.errors import DataError
from mld.motion.motion import Motion
from tests.models.evaluating import TEXTS, tiny_guo, tiny_tmr, write_text_encoder
from tests.walking import walker


@pytest.fixture(scope="module")
def similarity(tmp_path_factory) -> Similarity:
    return Similarity(tiny_tmr(write_text_encoder(tmp_path_factory.mktemp("words") / "encoder")))


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        Motion(walker(30 + 9 * i, turning=0.02 * i, phase=i), 20.0).save(tmp_path / "motions" / f"walk{i}.npy")
    return tmp_path / "motions"


def test_scores_are_half_the_cosine_plus_a_half(similarity):
    motions = [Motion(walker(40, phase=phase), 20.0) for phase in (0.0, 1.0)]
    scores = similarity.scores(TEXTS[:3], motions)
    text, motion = similarity.embed_texts(TEXTS[:3]), similarity.embed(motions[1]).embeddings
    assert torch.allclose(scores[:, 1:], torch.cosine_similarity(text, motion, dim=-1)[:, None] / 2 + 0.5, atol=1e-5)
    assert similarity.score(TEXTS[2], motions[1]) == pytest.approx(float(scores[2, 1]), abs=1e-5)


def test_euclidean_evaluators_compare_by_distance():
    similarity = Similarity(tiny_guo())
    rows = similarity.embed_texts(TEXTS[:2])
    assert torch.allclose(similarity.compare(rows, rows).diagonal(), torch.zeros(2))
    assert similarity.compare(rows, rows)[0, 1] == pytest.approx(-float((rows[0] - rows[1]).norm()), rel=1e-5)


@pytest.mark.parametrize(("frames", "longest"), [(5, 10), (10, 10), (11, 10), (95, 10), (1000, 197)])
def test_windows_cover_everything(frames, longest):
    spans = windows(frames, longest)
    assert spans[0][0] == 0 and spans[-1][1] == frames
    assert all(stop - start == min(frames, longest) for start, stop in spans)
    assert all(later[0] - earlier[0] <= longest / 2 + 1 for earlier, later in zip(spans, spans[1:]))


def test_a_stretch_of_a_long_motion_is_found(similarity):
    long = Motion(walker(900, turning=0.01), 20.0)
    found = similarity.embed(long)
    start, stop = found.spans[3].tolist()
    part = similarity.embed(long.crop(round(start * 20), round(stop * 20))).embeddings
    assert len(found.embeddings) > 5 and similarity.compare(part, found.embeddings).argmax() == 3
    slow = similarity.embed(Motion(walker(90), 10.0))
    assert slow.spans.tolist() == [[0.0, pytest.approx(8.95, abs=0.1)]], "another frame rate is resampled"


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (Motion(walker(1), 20.0), "needs at least"),
        (Motion(torch.full((30, 22, 3), torch.nan), 20.0), "NaN"),
    ],
    ids=["short", "nan"],
)
def test_bad_motions_are_told(similarity, motion, message):
    with pytest.raises(DataError, match=message):
        similarity.embed(motion)


def test_index_finds_a_motion_by_itself_and_remembers(similarity, folder, tmp_path):
    cache, files = tmp_path / "cache", motion_files(folder)
    index = MotionIndex(similarity, files, cache)
    for path in files:
        hits = index.search(similarity.embed(Motion.load(path)).embeddings, k=2)
        assert hits[0].path == path and hits[0].similarity == pytest.approx(1.0, abs=1e-5) and len(hits) == 2
    assert index.made == 4 and sorted(folder.iterdir()) == files, "nothing is written beside the motions"

    files[0].rename(folder / "renamed.npy")
    Motion(walker(50, turning=0.05), 20.0).save(files[1])
    damaged = next(cache.rglob("*.safetensors"))
    damaged.write_bytes(b"damaged")
    again = MotionIndex(similarity, motion_files(folder), cache)
    assert len(again) == 4 and again.made in (1, 2), "the changed file, and the one whose cache file was damaged"
    assert MotionIndex(similarity, motion_files(folder), cache).made == 0


def test_unreadable_files_are_problems_not_the_end(similarity, folder):
    np.save(folder / "bad.npy", np.zeros((3, 5)))
    index = MotionIndex(similarity, motion_files(folder))
    assert len(index) == 4 and [path.name for path, _ in index.problems] == ["bad.npy"]
    with pytest.raises(DataError, match="no motion to search in"):
        MotionIndex(similarity, [folder / "bad.npy"])


def test_mld_load_opens_an_evaluator(tmp_path):
    folder = save_model(tiny_guo(), tmp_path / "guo")
    assert isinstance(mld.load(folder), Similarity)
