"""What a training step of MotionMillion keeps of its batch."""

from __future__ import annotations

from mld.models.backbones.llama_memory import llama_bytes
from mld.models.families.motionmillion.config import MotionMillionConfig


def activation_bytes(
    config: MotionMillionConfig, codes: int, vocabulary: int, text_width: int, items: int, half: bool, again: bool
) -> int:
    """Bytes for so many rows with texts as long as they may be and so many codes each, and gradients of the logits,
    where memory is highest. vocabulary: codes and the end."""
    text = config.longest_text
    length = min(config.positions, text + codes + 1)
    blocks = llama_bytes(config.llama(), items * length, half, again)
    texts = items * text * text_width * (2 if half else 4)
    foretold = items * (codes + 1)
    states = foretold * config.llama().width * (2 if half else 4)
    logits = foretold * vocabulary * (4 + 4 + (2 if half else 0))  # log softmax, its gradient, that in half precision
    return blocks + texts + states + logits
