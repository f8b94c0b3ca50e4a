"""Mode "upstream" reaches the model: it is asked, and its answers are read, as in the published tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tasks
from mld.checkpoint import save_model
from mld.data.config import DataConfig
from mld.engine.pipeline import Pipeline
from mld.evaluation.embedder import Embedder
from mld.evaluation.evaluators import Evaluator
from mld.evaluation.rows import REPEATS
from mld.evaluation.run import evaluate
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
from mld.evaluation.task import Setting
from mld.example import CaptionedClip
from mld.metrics.embeddings import kid
from mld.motion.representations.registry import get_representation
from tests.metrics.splits import Counting, split
from tests.models.tiny import tiny_motiongpt, tiny_motiongpt3

QUOTED = '"a person walks."'


@pytest.mark.parametrize("make", [tiny_motiongpt, tiny_motiongpt3])
def test_quotes_of_an_answer_stay(make) -> None:
    model = make()
    said = torch.tensor(model.vocabulary.text_ids(QUOTED))
    assert model.read_text(said) == "a person walks."
    model.answer_as_published()
    assert model.read_text(said) == QUOTED


@pytest.mark.parametrize("mode", ["strict", "upstream"])
def test_an_evaluation_sets_them(mode: str, tmp_path: Path) -> None:
    model = tiny_motiongpt3()
    folder = save_model(model, tmp_path / "model", {})
    subject = Subject(Pipeline(model), folder, (tasks.find("t2m"),))
    settings = Settings(limit=1, replications=1, multimodality=0, evaluators=(), mode=mode, out=tmp_path / "out")
    found = evaluate(DataConfig(procedural_size=24), settings, subject, ())
    config = subject.engine.model.config
    upstream = mode == "upstream"
    assert (config.prompt_style == "upstream_test", config.sample_latents, config.keep_quotes) == (upstream,) * 3
    assert config.guidance_scale == 1, "what the model was trained for is not changed"
    assert f"/{mode}/" in found["protocol"]["id"]


class Reading(Counting):
    """An evaluator that tells how many words of a caption it may read."""

    predicted_words = 40

    def embed_text(self, captions, max_words=20):
        self.limits = [*getattr(self, "limits", []), max_words]
        return super().embed_text(captions)


def test_forty_words_of_a_written_caption() -> None:
    for mode, words in (("strict", 20), ("upstream", 40)):
        network = Reading()
        embedder = Embedder(Evaluator("c", network), split(4), mode)
        embedder.answers(["a person walks. " * 12])
        embedder.texts(embedder.clips.captions()[:1])
        assert network.limits[0] == words and set(network.limits[1:]) == {20}, "the clips' own captions are as ever"


def _cuts(frames: int, unit: int, published: bool) -> tuple[int, int, int]:
    """Frames of the head of a prediction, of the head of an in-between, and where its tail starts."""
    clip = CaptionedClip("walk", torch.zeros(frames, 263), ("a person walks.",), 20.0)
    setting = Setting(get_representation("humanml3d"), unit, published=published)
    (head,) = tasks.find("pred").request(clip, setting).prompt
    first, last = tasks.find("inbetween").request(clip, setting).prompt
    return len(head.features), len(first.features), last.start


def test_the_published_cut_hides_one_code_fewer() -> None:
    """In 30 of 40 lengths; kept are floor(n / 4) codes, and those from floor(3 n / 4) on."""
    fewer = 0
    for codes in range(10, 50):
        (head, first, last), (_, own_first, own_last) = (_cuts(4 * codes, 4, published) for published in (True, False))
        assert (head, first, last) == (4 * (codes // 5), 4 * (codes // 4), 4 * (3 * codes // 4))
        assert own_first == first
        fewer += (own_last - own_first) - (last - first) == 4
    assert fewer == 30


def test_models_of_whole_clips_are_given_frames_of_any_number() -> None:
    """The heads of 135 of 180 lengths are no multiple of four frames, nor are the starts of the tails of most."""
    subject = Subject(Pipeline(tiny_motiongpt3()), "", ())
    assert (subject.setting().unit, subject.as_published().setting().unit) == (4, 1)
    assert Subject(Pipeline(tiny_motiongpt()), "", ()).as_published().setting().unit == 4
    for frames in range(20, 200):
        assert _cuts(frames, 1, True) == (int(0.2 * frames), int(0.25 * frames), int(0.75 * frames))
    assert sum(int(0.2 * frames) % 4 > 0 for frames in range(20, 200)) == 135


def test_ids_that_are_no_codes_are_the_last_code() -> None:
    model = tiny_motiongpt()
    words, last = model.vocabulary, model.vocabulary.codebook_size - 1
    code = words.text_size
    said = torch.tensor([words.start_id, code + 1, words.mask_id, words.start_id, code + 2, words.end_id, code])
    assert model.read_motion(said).tolist() == [1, 2]
    model.answer_as_published()
    assert model.read_motion(said).tolist() == [1, last, last, 2]


def test_kid_draws_with_replacement() -> None:
    """Then a set of the size of a subset still gives a number for each subset, and each counts some rows twice."""
    generated, reference = torch.randn(2, 60, 8, generator=torch.Generator().manual_seed(0)).unbind()
    assert len(kid(generated, reference)) == 1 and len(kid(generated, reference, mode="upstream")) == 50
    strict, upstream = (kid(generated, reference, subset_size=50, mode=mode).mean() for mode in ("strict", "upstream"))
    assert upstream > strict + 0.01, "rows drawn twice are their own neighbours"


@pytest.mark.parametrize("mode", ["strict", "upstream"])
def test_repeats_of_multimodality_are_asked_in_different_words(mode: str, tmp_path: Path, monkeypatch) -> None:
    model, asked = tiny_motiongpt(), []
    folder = save_model(model, tmp_path / "model", {})
    subject = Subject(Pipeline(model), folder, (tasks.find("t2m"),))
    data = DataConfig(procedural_size=48, min_frames=40)
    settings = Settings(limit=2, replications=1, multimodality=1, mode=mode, out=tmp_path / "out", cache=tmp_path / "c")
    answer = type(subject.tasks[0]).answers

    def listening(self, engine, requests, batch_size, progress=False):
        asked.append(["".join(part.text for part in request.prompt) for request in requests])
        return answer(self, engine, requests, batch_size, progress)

    monkeypatch.setattr(type(subject.tasks[0]), "answers", listening)
    found = evaluate(data, settings, subject, subject.tasks)
    repeats = next(group for group in asked if len(group) == REPEATS)
    entry = next(e for name, e in found["tasks"]["t2m"].items() if name.endswith("MultiModality"))
    if mode == "strict":
        assert len(set(repeats)) == 1 and "templates" not in entry["protocol"]
    else:
        assert len(set(repeats)) > 5 and f"/1x{REPEATS}/templates=instruct/" in entry["protocol"]
        assert "/features=corrected" in entry["protocol"]
