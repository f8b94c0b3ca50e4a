"""What LLaMA blocks keep of their inputs for the backward pass, counted by hand from `llama.LlamaBlock`."""

from __future__ import annotations

from mld.models.backbones.llama import STEP, LlamaConfig


def block_bytes(config: LlamaConfig, half: bool) -> int:
    """Bytes of one block for each position. half: of autocast in half precision, beside which the stream between blocks
    and the norms stay in float32.

    Attention keeps its input (for the norm), the normed input, queries, keys and values after the rotation, its output
    as it comes and with heads joined; the MLP its input, the normed input, two projections, one of them after silu, and
    their product."""
    width, hidden = config.width, -(-int(8 * config.width / 3) // STEP) * STEP
    computed = 2 if half else 4
    sums = config.heads * 4 + 2 * 4  # of softmax and of the norms
    return 4 * 2 * width + computed * (7 * width + 4 * hidden) + sums


def llama_bytes(config: LlamaConfig, positions: int, half: bool, again: bool) -> int:
    """Bytes of all blocks and the last norm for so many positions of a batch. again: with activation checkpointing, of
    the inputs of all blocks and of one block."""
    one, stream = block_bytes(config, half), 4 * config.width
    blocks = config.layers * stream + one if again else config.layers * one
    return positions * (blocks + stream + 4)
