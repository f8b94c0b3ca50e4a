"""Text encoders of a model while it answers: where they run, and whether their weights stay.

A text encoder may be larger than the model: Flan-T5-XL has 1.2 billion parameters. Features of texts that were read are
kept, so its weights are only needed for new ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch

from mld.engine.checks import readable
from mld.errors import DataError, RequestError, nearest
from mld.example import Segment, said
from mld.models.contracts.network import Network
from mld.models.contracts.text_encoder import TextEncoder

Prompt = Sequence[Segment]
PLACES = ("keep", "cpu", "unload")


class TextEncoders:
    """place: "keep", weights stay on the device of the model; "cpu", they stay in the memory of the host and texts are
    read there; "unload", they are let go when the texts of a call were read, and read again for the next new text
    (streams, whose words come one by one, keep them)."""

    def __init__(self, network: Network, place: str = "keep") -> None:
        if place not in PLACES:
            raise RequestError(f"text encoder '{place}' is not one of {', '.join(PLACES)}; {nearest(place, PLACES)}")
        self.place = place
        self.encoders = [part for part in network.parts.values() if isinstance(part, TextEncoder)]
        for encoder in self.encoders:
            encoder.stay_on("cpu" if place == "cpu" else None)

    @property
    def streaming(self) -> str:
        """The place while words come one by one."""
        return "cpu" if self.place == "cpu" else "keep"

    def read(self, prompts: Sequence[Prompt], device: torch.device | str) -> None:
        """Compute what is not known of the words of all prompts, in one go. What is no text is left to the check of its
        request."""
        texts = list(dict.fromkeys(said(prompt) for prompt in prompts if readable(prompt)))
        for encoder in self.encoders:
            encoder.encode(texts, device)
            if self.place == "unload":  # so that guidance, which may compare with no words, does not open it again
                with contextlib.suppress(DataError):  # some text tokenizers have no token for that
                    encoder.encode([""], device)

    def read_once(self, prompts: Sequence[Prompt], device: torch.device | str) -> None:
        """All words that there will be, where any are known."""
        if prompts:
            self.read(prompts, device)
            self.done()

    def done(self) -> None:
        """No more texts for now."""
        if self.place == "unload":
            for encoder in self.encoders:
                encoder.release()
