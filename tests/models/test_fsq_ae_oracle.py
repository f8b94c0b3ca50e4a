"""MotionMillion's tokenizer against a second, plain one: a clip at a time, no masks, no pieces, numbers in float64.

It is written from the spec (MotionMillion 2.2 to 2.4) and reads nothing but the state dict and the config.
"""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mld.models.tokenizers.fsq_ae import FSQAE
from mld.padding import padded
from tests.models.tiny_fsq_ae import clip, tiny_fsq_ae

ACT = {"relu": torch.relu, "silu": F.silu, "gelu": F.gelu}
ROOT_HALF = 0.70710678


class Plain:
    """Encoder and decoder of one clip (C, T) over the weights of `model`."""

    def __init__(self, model: FSQAE) -> None:
        self.c, self.weights = model.config, {name: value.double() for name, value in model.state_dict().items()}
        self.levels = list(model.quantizer.levels)

    def conv(self, x: Tensor, name: str, dilation: int = 1, stride: int = 1) -> Tensor:
        wrapped = f"{name}.conv" if f"{name}.conv.weight" in self.weights else name
        weight, bias = self.weights[f"{wrapped}.weight"], self.weights[f"{wrapped}.bias"]
        size = weight.shape[-1]
        left = (size - 1) * dilation + 1 - stride if self.c.causal else (size - 1) * dilation // 2
        right = 0 if self.c.causal else (size - 1) * dilation // 2
        return F.conv1d(F.pad(x[None], (left, right)), weight, bias, stride, dilation=dilation)[0]

    def norm(self, x: Tensor, name: str) -> Tensor:
        if self.c.norm is None:
            return x
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        if self.c.norm == "LN":
            return F.layer_norm(x.T, (len(x),), weight, bias).T
        if self.c.norm == "GN":
            groups = x.reshape(32, -1)
            groups = groups - groups.mean(1, keepdim=True)
            groups = groups / (groups.square().mean(1, keepdim=True) + 1e-6).sqrt()
            return groups.reshape(x.shape) * weight[:, None] + bias[:, None]
        mean, variance = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        return (x - mean[:, None]) / (variance[:, None] + 1e-6).sqrt() * weight[:, None] + bias[:, None]

    def block(self, x: Tensor, name: str, dilation: int) -> Tensor:
        act = ACT[self.c.activation]
        hidden = self.conv(act(self.norm(x, f"{name}.norm1")), f"{name}.conv1", dilation)
        return x + self.conv(act(self.norm(hidden, f"{name}.norm2")), f"{name}.conv2")

    def resnet(self, x: Tensor, name: str) -> Tensor:
        for place in range(self.c.depth):  # the largest dilation first
            x = self.block(x, f"{name}.model.{place}", self.c.dilation_growth_rate ** (self.c.depth - 1 - place))
        return x

    def attention(self, x: Tensor, name: str) -> Tensor:
        normed, frames = self.norm(x, f"{name}.norm"), x.shape[1]
        q, k, v = (self.conv(normed, f"{name}.{part}") for part in "qkv")
        out = torch.zeros_like(x)
        for at in range(frames):
            seen = [other for other in range(frames) if not (self.c.causal and other > at)]
            seen = [other for other in seen if not self.c.attention_window or abs(other - at) < self.c.attention_window]
            share = torch.softmax(k[:, seen].T @ q[:, at] / len(x) ** 0.5, 0)
            out[:, at] = v[:, seen] @ share
        return x + self.conv(out, f"{name}.proj_out")

    def middle(self, x: Tensor, name: str) -> Tensor:
        x = self.attention(self.block(x, f"{name}.0", 1), f"{name}.1")
        return self.block(x, f"{name}.2", 1)

    def end(self, x: Tensor, name: str) -> Tensor:
        return ACT[self.c.activation](self.norm(x, f"{name}.norm"))

    def patch(self, x: Tensor) -> Tensor:
        p = self.c.patch_size
        x = x[:, : x.shape[1] // p * p]
        if self.c.patch_method == "rearrange":
            return torch.stack([x[channel, start::p] for channel in range(len(x)) for start in range(p)])
        while p > 1:
            low = [(x[:, t] + x[:, t + 1]) * ROOT_HALF / 2 for t in range(0, x.shape[1], 2)]
            high = [(x[:, t] - x[:, t + 1]) * ROOT_HALF / 2 for t in range(0, x.shape[1], 2)]
            x, p = torch.cat((torch.stack(low, 1), torch.stack(high, 1))), p // 2
        return x

    def unpatch(self, x: Tensor) -> Tensor:
        p = self.c.patch_size
        if self.c.patch_method == "rearrange":
            return torch.stack([x[start::p][:, t] for t in range(x.shape[1]) for start in range(p)], 1)
        while p > 1:
            low, high = x[: len(x) // 2], x[len(x) // 2 :]
            x = torch.stack([part[:, t] for t in range(x.shape[1]) for part in
                             ((low + high) * 2 * ROOT_HALF, (low - high) * 2 * ROOT_HALF)], 1)  # fmt: skip
            p //= 2
        return x

    def codes(self, frames: Tensor) -> list[int]:
        """Raw features (T, D) -> codes."""
        x = self.patch(((frames - self.weights["feature_mean"]) / self.weights["feature_std"]).T)
        x, at = torch.relu(self.conv(x, "encoder.model.0")), 2
        for _ in range(self.c.down):
            x = self.resnet(self.conv(x, f"encoder.model.{at}.0", stride=2), f"encoder.model.{at}.1")
            at += 1
            if self.c.attention:
                x, at = self.attention(x, f"encoder.model.{at}"), at + 1
        if self.c.attention:
            x = self.end(self.middle(x, f"encoder.model.{at}"), f"encoder.model.{at + 1}")
            at += 2
        z = self.conv(x, f"encoder.model.{at}").T @ self.weights["quantizer.project_in.weight"].T
        return [self.code(row) for row in (z + self.weights["quantizer.project_in.bias"]).tolist()]

    def code(self, row: list[float]) -> int:
        found, basis = 0, 1
        for value, levels in zip(row, self.levels):
            half, offset = (levels - 1) * 1.001 / 2, 0.0 if levels % 2 else 0.5
            shift = torch.atanh(torch.tensor(offset / half, dtype=torch.float64))
            bounded = float(torch.tanh(value + shift)) * half - offset
            found, basis = found + (round(bounded) + levels // 2) * basis, basis * levels
        return found

    def frames(self, codes: list[int]) -> Tensor:
        """Codes -> raw features (T, D)."""
        rows = []
        for code in codes:
            row = []
            for levels in self.levels:
                code, level = divmod(code, levels)
                row.append((level - levels // 2) / (levels // 2))
            rows.append(row)
        z = torch.tensor(rows, dtype=torch.float64) @ self.weights["quantizer.project_out.weight"].T
        x = torch.relu(self.conv((z + self.weights["quantizer.project_out.bias"]).T, "decoder.model.0"))
        at = 2
        if self.c.attention:
            x, at = self.middle(x, f"decoder.model.{at}"), at + 1
        for _ in range(self.c.down):
            x = self.resnet(x, f"decoder.model.{at}.0")
            x = self.conv(x.repeat_interleave(2, 1), f"decoder.model.{at}.2")
            at += 1
            if self.c.attention:
                x, at = self.attention(x, f"decoder.model.{at}"), at + 1
        if self.c.attention:
            x, at = self.end(x, f"decoder.model.{at}"), at + 1
        x = self.conv(torch.relu(self.conv(x, f"decoder.model.{at}")), f"decoder.model.{at + 2}")
        return self.unpatch(x).T * self.weights["feature_std"] + self.weights["feature_mean"]


SHAPES = [
    {"patch_size": 4, "patch_method": "haar", "norm": "GN", "width": 64},
    {"patch_size": 8, "patch_method": "rearrange", "down": 1, "norm": "BN", "activation": "gelu"},
    {"patch_size": 8, "patch_method": "haar", "down": 0, "codes": 65536},
    {"patch_size": 3, "patch_method": "rearrange", "causal": True, "codes": 4096},
    {"down": 3, "depth": 3, "dilation_growth_rate": 2, "activation": "silu", "norm": None, "codes": 16384},
    {"attention": True, "attention_window": 4, "down": 2, "norm": "BN"},
    {"attention": True, "attention_window": 0, "norm": "GN", "width": 64, "codes": 512},
    {"attention": True, "attention_window": 6, "causal": True, "norm": "GN", "width": 64},
    {"attention": True, "attention_window": 0, "causal": True, "norm": "BN", "down": 2},
    {"attention": True, "attention_window": 5, "causal": True, "norm": "LN", "patch_size": 2, "levels": [7, 4]},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SHAPES)))
@torch.no_grad()
def test_batches_and_pieces_are_the_plain_tokenizer(number: int) -> None:
    """Rows of random lengths, odd ones too, in a padded batch, whole and in pieces of random length."""
    shape, chance = SHAPES[number], random.Random(number)
    model = trained_statistics(tiny_fsq_ae(number, **shape).double())
    plain, unit = Plain(model), model.layout.frames_per_token
    lengths = [chance.randrange(unit, 20 * unit + 13) for _ in range(4)] + [unit, 7 * unit + unit - 1]
    clips = [clip(length, 100 * number + length).double() for length in lengths]
    wanted = [plain.codes(frames) for frames in clips]
    assert [len(codes) for codes in wanted] == [length // unit for length in lengths]
    assert len({code for codes in wanted for code in codes}) > 10
    x, mask = padded(clips)
    x[~mask] = float("nan")
    for piece in (0, chance.randrange(1, 4), chance.randrange(4, 12)):
        model.config.piece = piece
        codes, kept = model.encode(x, mask)
        decoded = model.decode(codes, kept)
        for row, own in enumerate(wanted):
            assert codes[row, : len(own)].tolist() == own and int(kept[row].sum()) == len(own)
            torch.testing.assert_close(
                decoded[row, : unit * len(own)], plain.frames(own), atol=1e-6, rtol=1e-6, msg=f"row {row} of {lengths}"
            )


def trained_statistics(model: FSQAE) -> FSQAE:
    """With running statistics that are not those of a new batch norm, and scales that are not 1."""
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif ".norm" in name and value.is_floating_point():
            value.add_(torch.randn_like(value) * 0.1)
    return model
