"""The diffusion transformer against a second, plain one: a row and a head at a time, no masks, NumPy.

It is written from the spec (vimogen 3.2 to 3.5) and reads published names and sizes alone. float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mld.models.backbones.dit import DiT, DiTConfig
from mld.models.families.vimogen.convert import OF, keymap
from mld.models.families.vimogen.guidance import Exact, Faithful
from mld.padding import mask_of

SIZES = [  # layers, layers that read references, heads, width
    (1, 0, 1, 6), (3, 2, 3, 30), (4, 1, 8, 48), (5, 3, 5, 20),
]  # fmt: skip
CHANNELS, REFERENCE, TEXT, WAVES, HIDDEN = 11, 5, 7, 10, 17


def normed(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


class Plain:
    def __init__(self, dit: DiT) -> None:
        own = {OF + name: value for name, value in dit.state_dict().items()}
        self.weights = {name: value.numpy() for name, value in keymap().published(own).items()}
        self.sizes = dit.config

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def scaled(self, name: str, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * self.weights[f"{name}.weight"]

    def attention(self, name: str, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
        query, key = self.scaled(f"{name}.norm_q", self.linear(f"{name}.q", x)), self.linear(f"{name}.k", seen)
        key, value, heads = self.scaled(f"{name}.norm_k", key), self.linear(f"{name}.v", seen), self.sizes.heads
        made = []
        for q, k, v in zip(*(np.split(part, heads, 1) for part in (query, key, value))):
            scores = np.exp(q @ k.T / np.sqrt(q.shape[1]))
            made.append(scores @ v / scores.sum(1, keepdims=True))
        return self.linear(f"{name}.o", np.concatenate(made, 1))

    def block(self, name: str, x: np.ndarray, time: np.ndarray, count: int, across=None) -> np.ndarray:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.weights[f"{name}.modulation"][0] + time
        own = normed(x) * (1 + scale) + shift
        x = x + gate * self.attention(f"{name}.self_attn", own, own[:count])
        if across is not None:
            kind, norm, seen = across
            asking = normed(x) * self.weights[f"{name}.{norm}.weight"] + self.weights[f"{name}.{norm}.bias"]
            x = x + self.attention(f"{name}.{kind}", asking, seen)
        hidden = gelu(self.linear(f"{name}.ffn.0", normed(x) * (1 + mlp_scale) + mlp_shift))
        return x + mlp_gate * self.linear(f"{name}.ffn.2", hidden)

    def placed(self, name: str, x: np.ndarray) -> np.ndarray:
        embedded = self.linear(name, x)
        pairs = np.arange(0, embedded.shape[1], 2)
        angles = np.arange(len(x))[:, None] * np.exp(-pairs * np.log(10000) / embedded.shape[1])
        embedded[:, 0::2] += np.sin(angles)
        embedded[:, 1::2] += np.cos(angles)
        return embedded

    def velocity(self, x, t: float, text, reference, count: int) -> np.ndarray:
        """A row (T, C) of which `count` frames are real, by its text (L, Z), or by its reference (R, Z) in T rows."""
        waves = t * 10000.0 ** (-np.arange(WAVES // 2) / (WAVES // 2))
        waves = np.concatenate((np.cos(waves), np.sin(waves)))
        embedded = self.linear("time_embedding.2", silu(self.linear("time_embedding.0", waves)))
        time = self.linear("time_projection.1", silu(embedded)).reshape(6, -1)
        if reference is None:
            seen = self.linear("text_embedding.2", gelu(self.linear("text_embedding.0", text)))
            across = ("cross_attn", "norm3", seen)
        else:
            rows = np.zeros((len(x), REFERENCE))
            rows[: len(reference)] = reference
            seen = self.placed("ref_motion_embedding", rows)
            for layer in range(self.sizes.reference_layers):
                seen = self.block(f"ref_motion_encoder.{layer}", seen, time, count)
            across = ("ref_motion_cross_attn", "norm4", seen[: len(reference)])
        stream = self.placed("motion_embedding", x)
        for layer in range(self.sizes.layers):
            stream = self.block(f"blocks.{layer}", stream, time, count, across)
        shift, scale = self.weights["motion_head.modulation"][0] + embedded
        return self.linear("motion_head.head", normed(stream) * (1 + scale) + shift)


def network(number: int) -> DiT:
    layers, reference_layers, heads, width = SIZES[number]
    torch.manual_seed(number)
    dit = DiT(DiTConfig(layers, reference_layers, heads, width, HIDDEN, CHANNELS, REFERENCE, TEXT, WAVES, positions=64))
    with torch.no_grad():
        for value in dit.state_dict().values():
            value.add_(torch.randn_like(value) * 0.2)  # norms and biases, too
    return dit.double().eval()


@pytest.mark.parametrize("number", range(len(SIZES)))
@torch.no_grad()
def test_velocities_are_those_of_a_plain_network(number: int) -> None:
    dit = network(number)
    dit.places = dit.places.double()
    plain, lengths, t = Plain(dit), [13, 1, 9, 13], torch.tensor([1000.0, 0.0, 421.5, 7.25]).double()
    frames, texts = torch.randn(4, 13, CHANNELS).double(), torch.randn(4, 6, TEXT).double()
    references = [None, torch.randn(1, REFERENCE).double(), None, torch.randn(8, REFERENCE).double()]
    padded, seen = torch.zeros(4, 13, REFERENCE).double(), torch.zeros(4, 13, dtype=torch.bool)
    for row, reference in enumerate(references):
        if reference is not None:
            padded[row, : len(reference)], seen[row, : len(reference)] = reference, True
    found = dit(frames, t, texts, padded, mask_of(lengths), seen)
    for row, reference in enumerate(references):
        told = None if reference is None else reference.numpy()
        wanted = plain.velocity(frames[row].numpy(), float(t[row]), texts[row].numpy(), told, lengths[row])
        np.testing.assert_allclose(found[row].numpy(), wanted, atol=1e-4, rtol=1e-5)  # the table of places is float32


@pytest.mark.parametrize("way", [Faithful, Exact])
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_guided_velocities_are_those_of_a_plain_network(way, scale: float) -> None:
    dit = network(1)
    plain, lengths, rows = Plain(dit), [7, 4, 5], 9
    frames = torch.randn(3, 7, CHANNELS).double()
    texts = [torch.randn(count, TEXT).double() for count in (3, 0, 12)]  # the last has more than are filled up
    null, reference = torch.randn(1, TEXT).double(), torch.randn(4, REFERENCE).double()
    found = way(dit, texts, null, [None, reference, None], mask_of(lengths), scale, rows)(frames, 640.0)
    for row, text in enumerate(texts):
        told, count = frames[row].numpy(), max(rows, len(text))
        if row == 1:
            wanted = plain.velocity(told, 640.0, None, reference.numpy(), lengths[row])
        else:
            both = [np.concatenate((part.numpy(), np.zeros((count - len(part), TEXT)))) for part in (text, null)]
            one, other = (plain.velocity(told, 640.0, part, None, lengths[row]) for part in both)
            wanted = other + scale * (one - other)
        np.testing.assert_allclose(found[row, : lengths[row]].numpy(), wanted[: lengths[row]], atol=2e-4, rtol=1e-4)
