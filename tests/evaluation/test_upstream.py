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
from mld.evaluation.run import evaluate
from mld.evaluation.settings import Settings
from mld.evaluation.subject import Subject
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
