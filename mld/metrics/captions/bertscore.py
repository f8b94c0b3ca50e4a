"""BERTScore F1 (Zhang et al. 2020) with a local model folder, as published for captions (evaluation spec 4.9).

roberta-large, layer 17, words weighted by rarity among the references, best over references, rescaled so that random
sentence pairs are at 0. Another model or layer needs its own baseline, or none: then the plain cosine F1 comes out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.errors import CheckpointError, DataError
from mld.weight_files import UNREADABLE, check_finite, check_folder, check_loaded

LAYER = 17
BASELINE = 0.83122575
BATCH_SIZE = 64
OPTIONAL = ("pooler.",)  # behind the hidden states; not every file has it


@dataclass(frozen=True)
class BertScorer:
    """folder: model and tokenizer as transformers saves them. layer: whose hidden states count. baseline: what is
    rescaled to 0, or None."""

    folder: Path
    layer: int = LAYER
    baseline: float | None = BASELINE
    device: str = "cpu"

    def __call__(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
        """Captions and their references -> F1 of each (N,) float64. A caption without words has F1 0 (compat: far below
        0 once rescaled)."""
        model, tokenizer = self._load()
        texts = sorted({*predictions, *(text for several in references for text in several)})
        tokens = {text: _encode(text, tokenizer, model) for text in texts}
        rarity = _rarity([tokens[text] for several in references for text in several])
        states = self._embed(model, tokenizer, tokens)
        weights = {text: torch.tensor([rarity(token) for token in tokens[text]]) for text in texts}
        scores = [
            max(_f1(states[said], weights[said], states[text], weights[text]) for text in several)
            for said, several in zip(predictions, references)
        ]
        found = torch.tensor(scores, dtype=torch.float64)
        return found if self.baseline is None else (found - self.baseline) / (1 - self.baseline)

    def _load(self):
        from transformers import AutoModel, AutoTokenizer

        if not (Path(self.folder) / "config.json").is_file():
            raise DataError(f"BERTScore: no model in '{self.folder}' (a folder with config.json and weights)")
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
            check_folder(Path(self.folder))
            model, report = AutoModel.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
            check_loaded(report, "its weights", OPTIONAL)
            check_finite(model.state_dict().items(), "its weights")
        except (*UNREADABLE, CheckpointError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(f"BERTScore: '{self.folder}' cannot be loaded: {reason}") from error
        layers = model.config.num_hidden_layers
        if layers < self.layer:
            raise DataError(f"BERTScore: layer {self.layer} is asked for, the model in '{self.folder}' has {layers}")
        return model.to(self.device).eval(), tokenizer

    @torch.inference_mode()
    def _embed(self, model, tokenizer, tokens: Mapping[str, list[int]]) -> dict[str, Tensor]:
        """Unit vectors of the tokens of every text: (L, H) each. Texts of like length share a batch."""
        states: dict[str, Tensor] = {}
        texts = sorted(tokens, key=lambda text: len(tokens[text]))
        for start in range(0, len(texts), BATCH_SIZE):
            batch = texts[start : start + BATCH_SIZE]
            rows = [torch.tensor(tokens[text]) for text in batch]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
            mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
            output = model(ids.to(self.device), attention_mask=mask.to(self.device), output_hidden_states=True)
            units = F.normalize(output.hidden_states[self.layer].float(), dim=-1).cpu()
            states |= {text: row[: len(tokens[text])] for text, row in zip(batch, units)}
        return states


def _encode(text: str, tokenizer, model) -> list[int]:
    """Token ids with the special ones; words are preceded by a space, as in running text."""
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) - 2)
    return tokenizer(" " + text.strip() if text.strip() else "", truncation=True, max_length=longest)["input_ids"]


def _rarity(references: Sequence[Sequence[int]]):
    """Inverse document frequency of a token id among the references (repeated ones count); 0 for special tokens,
    which all have."""
    found = Counter(token for tokens in references for token in set(tokens))
    return lambda token: math.log((len(references) + 1) / (found[token] + 1))


def _f1(said: Tensor, said_weights: Tensor, expected: Tensor, expected_weights: Tensor) -> float:
    """F1 of the best match of every token, weighted; NaN where no token of a text has a weight."""
    if len(said) <= 2 or len(expected) <= 2:  # special tokens only
        return 0.0
    cosine = said @ expected.T
    precision = float((cosine.amax(1) * said_weights).sum() / said_weights.sum())
    recall = float((cosine.amax(0) * expected_weights).sum() / expected_weights.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
