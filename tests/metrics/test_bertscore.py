"""BERTScore with a tiny random RoBERTa, saved as a local folder."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mld.errors import DataError
from mld.metrics.captions import BertScorer, CaptionScores

WORDS = ["a", "man", "person", "walks", "runs", "sits", "slowly", "forward", "down", "the", "left", "right", "stops"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    path = tmp_path_factory.mktemp("bert")
    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=34, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(path)
    return path


def test_same_caption_is_one_and_the_best_reference_counts(folder) -> None:
    scorer = BertScorer(folder, layer=2, baseline=None)
    said = ["a man walks forward", "a person sits down", "the person runs"]
    references = [["a man walks forward", "a person runs"], ["the man stops", "a person sits"], ["a man sits"]]
    found = scorer(said, references)
    assert found[0].item() == pytest.approx(1.0, abs=1e-6)
    turned = scorer(said, [several[::-1] for several in references])
    assert found.tolist() == pytest.approx(turned.tolist(), rel=1e-6)
    assert 0 < found[2] < 1


def test_f1_by_hand(folder) -> None:
    """The definition, token by token, without batches: weights are ln((R + 1) / (references with the token + 1))."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    said, references = "a man walks", ["the man runs slowly", "a person sits"]

    def states(text: str) -> tuple[list[int], torch.Tensor]:
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0]
        return ids, hidden / hidden.norm(dim=-1, keepdim=True)

    def weight(token: int) -> float:
        return math.log(3 / (1 + sum(token in tokenizer(text)["input_ids"] for text in references)))

    best = 0.0
    ids, ours = states(said)
    for text in references:
        others, theirs = states(text)
        cosine = ours @ theirs.T
        precision = sum(weight(t) * c for t, c in zip(ids, cosine.amax(1).tolist())) / sum(map(weight, ids))
        recall = sum(weight(t) * c for t, c in zip(others, cosine.amax(0).tolist())) / sum(map(weight, others))
        best = max(best, 2 * precision * recall / (precision + recall))
    found = BertScorer(folder, layer=2, baseline=None)([said], [references])
    assert found.item() == pytest.approx(best, rel=1e-5)
    rescaled = BertScorer(folder, layer=2, baseline=0.8)([said], [references])
    assert rescaled.item() == pytest.approx((best - 0.8) / 0.2, rel=1e-4)


def test_length_and_company_do_not_matter(folder) -> None:
    scorer = BertScorer(folder, layer=3, baseline=None)
    long = " ".join(WORDS * 5)  # longer than the model takes
    references = [["the man stops", "a person sits"]] * 3
    together = scorer(["a man walks", long, ""], references)
    assert torch.isfinite(together).all()
    assert together[2] == 0.0
    for text, value in zip(["a man walks", long], together):
        assert scorer([text] * 3, references)[0].item() == pytest.approx(value.item(), rel=1e-5)


def test_the_metric_object_reports_it_or_the_reason(folder, tmp_path) -> None:
    said, written = ["a man walks", "a person sits"], [["the man walks", "a person runs"], ["a person sits down"]]
    for scorer, reason in (
        (BertScorer(folder, layer=2, baseline=None), ""),
        (BertScorer(folder), "has 3"),
        (BertScorer(tmp_path), "config.json"),
    ):
        metric = CaptionScores(bert=scorer, python=None)
        metric.update(said, written)
        score = metric.scores()["BERTScore"]
        assert reason in score.reason
        assert (score.value is None) == bool(reason)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be loaded"):
        BertScorer(tmp_path)(said, written)
