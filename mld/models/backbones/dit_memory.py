"""What a diffusion transformer keeps for the backward pass, counted by hand from `dit_blocks.DiTBlock`.

Norms, modulations and the stream keep float32, products what they compute in. A row follows a text or a reference;
counted is what keeps more, for all rows.
"""

from __future__ import annotations

from mld.models.backbones.dit import DiTConfig

SUMS = 4 * 2  # bytes of a norm: mean and deviation


def block_bytes(config: DiTConfig, half: bool, across: bool = True) -> int:
    """Bytes of a block for each frame. half: of autocast in half precision. across: with attention across.

    Attention keeps its input, the normed one, the modulated one, queries and keys before and after their norms, values,
    its output as it comes and with heads joined, and what is gated. Attention across asks with a row's frames. The MLP
    keeps its input, the normed and the modulated one, the hidden layer before and after GELU, and what is gated."""
    computed, width = 2 if half else 4, config.width
    own = 4 * 5 * width + computed * 6 * width + config.heads * 4 + 3 * SUMS
    asking = 4 * 2 * width + computed * 4 * width + config.heads * 4 + 2 * SUMS
    mlp = 4 * 3 * width + computed * (width + 2 * config.ffn) + SUMS
    return own + mlp + (asking if across else 0)


def seen_bytes(config: DiTConfig, half: bool) -> int:
    """Bytes of keys and values of a block, for each row of what is looked at: keys before and after their norm."""
    return (4 + (4 if half else 8)) * config.width + SUMS


def dit_bytes(config: DiTConfig, items: int, frames: int, text_rows: int, half: bool, again: bool) -> int:
    """Bytes for so many items of so many frames. text_rows: of each text. again: with activation checkpointing, of the
    inputs of all blocks and of one block."""
    computed, width = 2 if half else 4, config.width
    frames = min(frames, config.positions)
    stream, main, encoder = 4 * width, block_bytes(config, half), block_bytes(config, half, False)
    ends = frames * (computed * config.channels + 3 * stream + SUMS)  # what is embedded, and the head
    times = 4 * 8 * width  # sums of modulations, and scales

    def kept(layers: int, rows: int, encoders: int) -> int:
        seen = rows * seen_bytes(config, half)
        if again:
            return (layers + encoders) * frames * stream + frames * main + seen + times
        return layers * (frames * main + seen + times) + encoders * (frames * encoder + times)

    by_text = kept(config.layers, text_rows, 0) + text_rows * computed * (config.text_width + 3 * width)
    by_reference = kept(config.layers, frames, config.reference_layers)
    by_reference += frames * (computed * config.reference_channels + 2 * stream)
    return items * (ends + max(by_text, by_reference if config.reference_channels else 0))
