"""A diffusion transformer that gives velocities of noisy frames, by a text or by a reference motion (vimogen spec 3).

Which of the two a row follows is decided for the row, in all blocks. The reference passes an encoder of its own first,
which knows the time. Positions are an additive sinusoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mld.errors import ConfigError
from mld.models.backbones.dit_blocks import Across, By, DiTBlock, Head, TextPool, TimeEmbedding, precise
from mld.models.positions import sinusoids
from mld.models.sizes import check_sizes

ORDERED = 64  # rows of a text that are told apart by their place; those behind share the last one


@dataclass
class DiTConfig:
    """Published sizes. layers, heads, width, ffn: of the blocks and of the hidden layer of their MLP. reference_layers,
    reference_channels: of the encoder of references and of its input; both 0: rows follow texts alone. text_width: of
    text features. time_waves: features of the time's sinusoid. positions: frames of the longest row. pool_texts: the
    mean of a text's features goes with the time into all modulations, beside what frames look at. text_order: rows of a
    text know the how many-th they are; attention alone tells "walks, then turns" from "turns, then walks" only as far
    as the encoder put it into the features. start_std: of the first weights that embed texts and the time; as
    published, which leaves both faint at a small width."""

    layers: int = 30
    reference_layers: int = 15
    heads: int = 12
    width: int = 1536
    ffn: int = 8960
    channels: int = 276
    reference_channels: int = 138
    text_width: int = 4096
    time_waves: int = 256
    eps: float = 1e-6
    positions: int = 5000
    start_std: float = 0.02
    pool_texts: bool = False
    text_order: bool = False

    def __post_init__(self) -> None:
        sizes = ("layers", "heads", "width", "ffn", "channels", "text_width", "time_waves", "positions")
        check_sizes(self, sizes, (), ("reference_layers", "reference_channels"))
        if self.width % self.heads or self.width % 2:
            raise ConfigError(f"width {self.width} is not an even number of channels in {self.heads} heads")
        if self.time_waves % 2:
            raise ConfigError(f"time_waves is {self.time_waves}, expected an even number: cosines and sines")
        if not self.reference_channels and self.reference_layers:
            raise ConfigError("reference_layers without reference_channels: there is nothing to encode; make both 0")
        if not 0 < self.eps < 1:
            raise ConfigError(f"eps is {self.eps}, expected a small number above 0")

    @property
    def across(self) -> tuple[By, ...]:
        """What blocks look at beside the frames."""
        return ("text", "reference") if self.reference_channels else ("text",)


class DiT(nn.Module):
    """counts: masks count frames from the first on, as published, also where they have holes."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = c = config
        self.counts = False
        self.embed = nn.Linear(c.channels, c.width)
        self.text_embed = nn.Sequential(
            nn.Linear(c.text_width, c.width), nn.GELU("tanh"), nn.Linear(c.width, c.width)
        )
        self.time = TimeEmbedding(c.time_waves, c.width)
        self.text_pool = TextPool(c.text_width, c.width) if c.pool_texts else None
        self.text_order = nn.Parameter(torch.zeros(ORDERED, c.width)) if c.text_order else None
        if c.reference_channels:
            self.reference_embed = nn.Linear(c.reference_channels, c.width)
            self.reference_blocks = nn.ModuleList(
                DiTBlock(c.width, c.heads, c.ffn, c.eps) for _ in range(c.reference_layers)
            )
        self.blocks = nn.ModuleList(
            DiTBlock(c.width, c.heads, c.ffn, c.eps, c.across) for _ in range(c.layers)
        )
        self.head = Head(c.width, c.channels, c.eps)
        self.register_buffer("places", sinusoids(c.positions, c.width), persistent=False)
        self.start()

    @torch.no_grad()
    def start(self) -> None:
        """Initial weights (spec 3.5)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for layer in (self.text_embed[0], self.text_embed[2], self.time.embed[0], self.time.embed[2]):
            nn.init.normal_(layer.weight, std=self.config.start_std)
        if self.text_pool is not None:  # it says nothing at first
            nn.init.zeros_(self.text_pool.layers[-1].weight)

    def forward(
        self, frames: Tensor, t: Tensor, texts: Tensor | None, reference: Tensor | None = None,
        mask: Tensor | None = None, reference_mask: Tensor | None = None, by_text: Tensor | None = None,
        text_mask: Tensor | None = None, encode_all: bool = False,
    ) -> Tensor:  # fmt: skip
        """Noisy frames (B, T, C) at timesteps t (B,) or (1,), 0 to 1000 -> velocities (B, T, C) float32.

        texts (B, L, Z): all L rows are looked at, rows of zeros included, but where text_mask (B, L) is given.
        reference (B, T, R), looked at where reference_mask (B, T) is True. mask (B, T): frames that are real; those of
        the encoder of references are the same. by_text (B,): which rows follow the text; without it, those whose
        reference is all zeros. encode_all: the encoder also reads references that nobody looks at, as published.
        ValueError for rows by a reference that is not there, and for more frames than there are positions.

        While gradients are computed, and where several processes run, every weight takes part, if need be with a
        gradient of zero: those that share a network have to agree on which weights they have gradients for, and those
        that hold shards of it on when a block is put together."""
        follows = self.follows_text(len(frames), reference, by_text, frames.device)
        mask, reference_mask = self._keys(mask), self._keys(reference_mask)
        embedded, time = self.time(t, self.told(texts, follows))
        across = []
        text_rows, witness = _rows(follows, texts is not None)
        if text_rows is not None:
            states = self.read(texts[text_rows].to(self.text_embed[0].weight.dtype))
            seen = None if text_mask is None else text_mask[text_rows][:, None, None]
            across.append(Across("text", text_rows, states, mask=seen, witness=witness))
        rows, witness = _rows(~follows, reference is not None and bool(self.config.reference_channels))
        if encode_all and reference is not None and self.config.reference_channels:
            states = self.encoded(reference, time, mask)
            states = states if rows is None else states[rows]
        elif rows is not None:
            states = self.encoded(reference[rows], _of(time, rows), _of(mask, rows))
        if rows is not None:
            across.append(Across("reference", rows, states, mask=_of(reference_mask, rows), witness=witness))
        return self.through(self.placed(self.embed, frames), embedded, time, mask, across)

    def read(self, texts: Tensor) -> Tensor:
        """Texts (B, L, Z) as blocks look at them (B, L, W). Rows of zeros have no place in the order."""
        states = self.text_embed(texts)
        if self.text_order is None:
            return states
        real = texts.any(-1)
        places = (real.cumsum(-1) - 1).clamp(0, ORDERED - 1)
        return states + self.text_order[places] * real[..., None]

    def told(self, texts: Tensor | None, follows: Tensor) -> Tensor | None:
        """What goes with the time of rows that follow texts (B, L, Z), (B, W); zeros of the others, none without
        `pool_texts`."""
        if self.text_pool is None or texts is None:
            return None
        return self.text_pool(texts) * follows[:, None]

    def follows_text(
        self, rows: int, reference: Tensor | None, by_text: Tensor | None, device: torch.device
    ) -> Tensor:
        """Which rows (B,) follow the text."""
        if by_text is None:
            nobody = torch.ones(rows, dtype=torch.bool, device=device)
            by_text = nobody if reference is None else ~reference.flatten(1).any(1)
        if (reference is None or not self.config.reference_channels) and not bool(by_text.all()):
            raise ValueError("rows that follow a reference, but there is none")
        return by_text

    def placed(self, embed: nn.Linear, frames: Tensor) -> Tensor:
        """Embedded frames (B, T, W) in their places, float32: the start of a stream."""
        if frames.shape[1] > len(self.places):
            raise ValueError(f"{frames.shape[1]} frames, this network has {len(self.places)} positions")
        stream = embed(frames.to(embed.weight.dtype))
        return stream.to(precise(stream.dtype)) + self.places[: frames.shape[1]]

    def encoded(self, reference: Tensor, time: Tensor, mask: Tensor | None) -> Tensor:
        """References (R, T, C) -> states (R, T, W), which depend on the time (R or 1, 6, W). mask (R, 1, 1, T)."""
        states = self.placed(self.reference_embed, reference)
        for block in self.reference_blocks:
            states = block(states, time, mask)
        return states

    def through(
        self, x: Tensor, embedded: Tensor, time: Tensor, mask: Tensor | None, across: Sequence[Across]
    ) -> Tensor:
        """The stream (B, T, W) through all blocks and the head: velocities (B, T, C)."""
        for layer, block in enumerate(self.blocks):
            x = block(x, time, mask, across, layer)
        return self.head(x, embedded)

    def _keys(self, mask: Tensor | None) -> Tensor | None:
        """Frames that are seen (B, 1, 1, T), at least one of each row: softmax over none is not a number."""
        return None if mask is None else key_mask(mask, self.counts)


def key_mask(mask: Tensor, counts: bool = False) -> Tensor:
    """Masks (B, T), of any kind, as keys (B, 1, 1, T); counts: so many first frames."""
    mask = mask.bool()
    places = torch.arange(mask.shape[1], device=mask.device)
    if counts:
        mask = places < mask.sum(1, keepdim=True)
    return (mask | (~mask.any(1, keepdim=True) & (places == 0)))[:, None, None]


def _rows(chosen: Tensor, there: bool) -> tuple[Tensor | None, bool]:
    """Places (R,) of the chosen rows, none for nothing to do; whether the row is only a witness."""
    rows = chosen.nonzero()[:, 0]
    if len(rows):
        return rows, False
    if there and (torch.is_grad_enabled() or _shared()):
        return torch.zeros(1, dtype=torch.long, device=chosen.device), True
    return None, False


def _shared() -> bool:
    """Whether other processes run the network, too."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and (
        torch.distributed.get_world_size() > 1
    )


def _of(values: Tensor | None, rows: Tensor) -> Tensor | None:
    """Those of the rows; what is one for all stays."""
    return values if values is None or len(values) == 1 else values[rows]
