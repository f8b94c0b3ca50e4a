"""Word vectors from captions alone, for evaluators trained without the published ones.

Positive pointwise mutual information of words that stand near each other, and its truncated singular value
decomposition (Levy and Goldberg 2014): the same kind of vector as GloVe, deterministic, seconds for a caption corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from mld.errors import DataError
from mld.models.evaluators.guo.vectorizer import END, START, UNKNOWN, WordVectors

WINDOW = 5
SMOOTHING = 0.75  # exponent of the context counts
NORM = 5.0  # mean length of the vectors, about that of the published ones


def train_word_vectors(captions: Iterable[Iterable[str]], size: int = 300, min_count: int = 1) -> WordVectors:
    """captions: `word/POS` items of each. Words seen less than `min_count` times are left to `unk` (a zero vector).

    `DataError` when there is no word to learn from."""
    sentences = [[START, *(token.rpartition("/")[0] for token in tokens), END] for tokens in captions]
    counts = Counter(word for sentence in sentences for word in sentence)
    special = {START, END, UNKNOWN}
    kept = sorted((w for w, n in counts.items() if n >= min_count and w not in special), key=lambda w: (-counts[w], w))
    if not kept:
        raise DataError("there are no words to train word vectors on")
    words = (START, END, UNKNOWN, *kept)
    index = {word: number for number, word in enumerate(words)}
    vectors = np.zeros((len(words), size), dtype=np.float32)
    found = _decompose(_information(_neighbours(sentences, index), len(words)), min(size, len(words) - 1))
    vectors[:, : found.shape[1]] = found * (NORM / max(np.linalg.norm(found, axis=1).mean(), 1e-8))
    vectors[index[UNKNOWN]] = 0.0
    return WordVectors(words, vectors)


def _neighbours(sentences: list[list[str]], index: dict[str, int]) -> Counter[tuple[int, int]]:
    """How often two words stand within the window, weighted by 1 / distance."""
    pairs: Counter[tuple[int, int]] = Counter()
    for sentence in sentences:
        ids = [index.get(word, index[UNKNOWN]) for word in sentence]
        for here, word in enumerate(ids):
            for step, other in enumerate(ids[here + 1 : here + 1 + WINDOW], start=1):
                pairs[word, other] += 1 / step
                pairs[other, word] += 1 / step
    return pairs


def _information(pairs: Counter[tuple[int, int]], size: int):
    """Sparse (V, V): max(0, log p(w, c) / (p(w) p(c)^0.75))."""
    from scipy.sparse import csr_matrix

    rows, columns = np.array(list(pairs)).T
    values = np.array(list(pairs.values()))
    word = np.bincount(rows, values, size)
    context = np.bincount(columns, values, size) ** SMOOTHING
    strength = np.log(values * context.sum() / (word[rows] * context[columns]))
    return csr_matrix((np.maximum(strength, 0.0), (rows, columns)), shape=(size, size))


def _decompose(matrix, rank: int) -> np.ndarray:
    """Words (V, rank): left singular vectors times the root of the singular values, strongest first, signs fixed."""
    from scipy.sparse.linalg import svds

    if rank < matrix.shape[0] // 2:
        left, strength, _ = svds(matrix, k=rank, v0=np.ones(matrix.shape[0]))
        left, strength = left[:, ::-1], strength[::-1]
    else:
        left, strength, _ = np.linalg.svd(matrix.toarray())
        left, strength = left[:, :rank], strength[:rank]
    signs = np.sign(left[np.abs(left).argmax(0), np.arange(left.shape[1])])
    return left * signs * np.sqrt(strength)
