"""The networks of the Guo et al. evaluator (evaluation spec 1.1), with the published key names inside.

A movement encoder shortens motion by 4, two bidirectional GRUs read movements and words. The GRUs start from a learned
state and run over packed sequences; without lengths they run over the padding, as MotionGPT's copy does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

SLOPE = 0.2
FRAMES_PER_MOVEMENT = 4


class MovementEncoder(nn.Module):
    """Motion (B, T, C) -> movements (B, T // 2 // 2, latent)."""

    def __init__(self, channels: int, hidden: int, latent: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv1d(channels, hidden, 4, 2, 1), nn.Dropout(dropout), nn.LeakyReLU(SLOPE),
            nn.Conv1d(hidden, latent, 4, 2, 1), nn.Dropout(dropout), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.out_net = nn.Linear(latent, latent)

    def forward(self, motion: Tensor) -> Tensor:
        return self.out_net(self.main(motion.transpose(1, 2)).transpose(1, 2))


class MovementDecoder(nn.Module):
    """Movements (B, L, latent) -> motion (B, 4 L, C); the mirror image of `MovementEncoder`, for its training only."""

    def __init__(self, channels: int, hidden: int, latent: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose1d(latent, hidden, 4, 2, 1), nn.Dropout(dropout), nn.LeakyReLU(SLOPE),
            nn.ConvTranspose1d(hidden, channels, 4, 2, 1), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.out_net = nn.Linear(channels, channels)

    def forward(self, movements: Tensor) -> Tensor:
        return self.out_net(self.main(movements.transpose(1, 2)).transpose(1, 2))


class BiGRU(nn.Module):
    """Reads a sequence in both directions and gives one vector. hidden also is the width of its input embedding."""

    def __init__(self, size: int, hidden: int, output: int) -> None:
        super().__init__()
        self.input_emb = nn.Linear(size, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.output_net = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, output)
        )
        self.hidden = nn.Parameter(torch.randn(2, 1, hidden))

    def forward(self, sequence: Tensor, lengths: Tensor | None) -> Tensor:
        """Sequence (B, L, size), lengths (B,) in steps or None for all L -> (B, output)."""
        steps = self.input_emb(sequence)
        start = self.hidden.expand(-1, len(steps), -1).contiguous()
        if lengths is not None:
            steps = pack_padded_sequence(steps, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.gru(steps, start)
        return self.output_net(torch.cat([last[0], last[1]], dim=-1))


class WordEncoder(BiGRU):
    """The same for words that come with their part of speech."""

    def __init__(self, word_size: int, pos_size: int, hidden: int, output: int) -> None:
        super().__init__(word_size, hidden, output)
        self.pos_emb = nn.Linear(pos_size, word_size)

    def forward(self, words: Tensor, pos: Tensor, lengths: Tensor) -> Tensor:
        """Word vectors (B, L, W), part-of-speech one-hot (B, L, P), lengths (B,) in words -> (B, output)."""
        return super().forward(words + self.pos_emb(pos), lengths)


def initialise(network: nn.Module) -> None:
    """Xavier-normal weights and zero biases of linear and convolution layers (spec 1.3)."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.ConvTranspose1d)):
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
