"""Latents one after the other, for rows that begin, get another text and end when they like (MotionStreamer spec 7).

Row by row `[text | latents of the window]` goes through the transformer; its last state conditions the next latent. A
latent more is one position more, as keys and values are kept. A new text, or a window that has moved on, changes every
position: then the row is read anew. `LatentRows` holds any number of rows and works on those that are asked for; it
serves answers (`LatentDecoding`) as well as streams
(`mld.engine.streaming`). Without the cache (`cached=False`) it is its own oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mld.models.backbones.llama import Llama
from mld.models.families.motionstreamer.config import MotionStreamerConfig
from mld.models.noise import RowNoise
from mld.padding import padded


class Prompt(NamedTuple):
    """text (Z,): features of the sentence. given (L, C): latents of the motion that is to go on."""

    text: Tensor
    given: Tensor

    def __len__(self) -> int:  # in positions
        return 1 + len(self.given)


class LatentModel(Protocol):
    """What decoding needs of the model."""

    config: MotionStreamerConfig
    device: torch.device
    transformer: Llama
    latent_embed: nn.Linear
    text_embed: nn.Linear
    out_proj: nn.Linear
    end_latent: Tensor

    def null_text(self) -> Tensor: ...

    def end_distances(self, latents: Tensor) -> Tensor: ...

    def sample(self, conditions: Tensor, noise: RowNoise, number: int | Sequence[int]) -> Tensor: ...


class LatentRows:
    """rows: of room. Each of them has a text, a history of latents and, under guidance, a twin with the empty text."""

    def __init__(self, model: LatentModel, rows: int, cached: bool = True) -> None:
        self.model, self.cached = model, cached
        self.guided = model.config.guidance_scale > 1
        self.kinds = 2 if self.guided else 1
        self.texts: list[Tensor | None] = [None] * rows
        self.history: list[Tensor] = [torch.empty(0)] * rows
        self.read = [0] * rows  # positions whose keys and values are kept
        self.cache = model.transformer.new_cache(self.kinds * rows)

    def begin(self, row: int, prompt: Prompt) -> None:
        """A row's text and the latents that it goes on from."""
        device = self.model.device
        self.texts[row] = prompt.text.to(device)
        self.history[row] = prompt.given[-self.model.config.window :].to(device)
        self.read[row] = 0

    def grow(self, rows: int) -> None:
        """Room for so many rows."""
        more = rows - len(self.texts)
        if more > 0:
            self.texts += [None] * more
            self.history += [torch.empty(0)] * more
            self.read += [0] * more
            self.cache.grow(self.kinds * rows)

    def say(self, row: int, prompt: Prompt) -> None:
        """Another text; the latents stay."""
        self.texts[row], self.read[row] = prompt.text.to(self.model.device), 0

    def draw(self, rows: Sequence[int], noise: RowNoise, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The next latents (B, C) of rows, and which are near the end latent, (B,) bool."""
        latents = self.model.sample(self.conditions(rows), noise, numbers)
        return latents, self.model.end_distances(latents) < self.model.config.end_distance

    def append(self, rows: Sequence[int], latents: Tensor) -> None:
        """The next latent of rows, (B, C). A window that is full loses its oldest `hop`."""
        config = self.model.config
        for row, latent in zip(rows, latents, strict=True):
            history = self.history[row]
            if len(history) == config.window:
                history, self.read[row] = history[config.hop :], 0
            self.history[row] = torch.cat((history, latent[None]))

    @torch.no_grad()
    def conditions(self, rows: Sequence[int]) -> Tensor:
        """What conditions the next latent of rows: (B, kinds, W), of the text and, under guidance, of the empty one."""
        anew = [row for row in rows if not (self.cached and 0 < self.read[row] == len(self.history[row]))]
        found = dict(zip(anew, self._from_the_start(anew))) if anew else {}
        on = [row for row in rows if row not in found]
        found |= dict(zip(on, self._one_more(on))) if on else {}
        return torch.stack([found[row] for row in rows])

    def held(self, row: int) -> dict[str, Tensor]:
        """All that a row needs to go on elsewhere, to the bit."""
        kept = self.cache.read(self._places([row]).tolist(), self.read[row])
        return {"text": self.texts[row], "history": self.history[row], "cache": kept}

    def restore(self, row: int, held: dict[str, Tensor]) -> None:
        """Put back what `held` gave."""
        self.begin(row, Prompt(held["text"], held["history"]))
        self.cache.restore(self._places([row]).tolist(), held["cache"])
        self.read[row] = held["cache"].shape[4]

    def _from_the_start(self, rows: list[int]) -> Tensor:
        """Read text and history of rows: the last state of each (B, kinds, W)."""
        embedded, mask = padded([self._row(row, kind) for row in rows for kind in range(self.kinds)])
        if self.cached:
            positions = torch.arange(embedded.shape[1], device=embedded.device).expand(embedded.shape[:2])
            states = self.model.transformer.extend(embedded, positions, self.cache, self._places(rows))
        else:
            states = self.model.transformer(embedded)
        for row in rows:
            self.read[row] = 1 + len(self.history[row])
        last = mask.sum(1) - 1
        return self._out(states[torch.arange(len(states)), last])

    def _one_more(self, rows: list[int]) -> Tensor:
        """The latest latent of rows, behind what is kept of them."""
        latest = torch.stack([self.history[row][-1] for row in rows]).repeat_interleave(self.kinds, 0)
        counts = torch.tensor([self.read[row] for row in rows], device=latest.device)
        positions = counts.repeat_interleave(self.kinds)[:, None]
        embedded = self.model.latent_embed(latest)[:, None]
        states = self.model.transformer.extend(embedded, positions, self.cache, self._places(rows))
        for row in rows:
            self.read[row] += 1
        return self._out(states[:, 0])

    def _row(self, row: int, kind: int) -> Tensor:
        """Embeddings (1 + L, W) of a row, or of its twin."""
        text = self.model.null_text() if kind else self.texts[row]
        return torch.cat((self.model.text_embed(text)[None], self.model.latent_embed(self.history[row])))

    def _out(self, states: Tensor) -> Tensor:
        return self.model.out_proj(states).unflatten(0, (-1, self.kinds))

    def _places(self, rows: Sequence[int]) -> Tensor:
        """Rows of the cache, both kinds of a row next to each other."""
        first = torch.tensor(rows, device=self.model.device) * self.kinds
        return (first[:, None] + torch.arange(self.kinds, device=first.device)).flatten()


class LatentDecoding:
    """Answers: rows that begin together and leave when they have ended."""

    def __init__(
        self, model: LatentModel, prompts: Sequence[Prompt], counts: Sequence[int | None], cached: bool = True
    ) -> None:
        self.model, self.counts, self.made = model, list(counts), 0
        self.rows = list(range(len(prompts)))
        self.state = LatentRows(model, len(prompts), cached)
        for row, prompt in zip(self.rows, prompts):
            self.state.begin(row, prompt)

    @property
    def longest(self) -> int:
        return max(self.model.config.longest if count is None else count + 1 for count in self.counts)

    def step(self, tokens: Tensor | None) -> Tensor:
        if tokens is not None:
            self.state.append(self.rows, tokens)
        return self.state.conditions(self.rows)

    def draw(self, state: Tensor, noise: RowNoise) -> tuple[Tensor, Tensor]:
        """A latent each. One with a count ends after so many, one without where it is near the end latent or at
        `config.longest`."""
        config = self.model.config
        if all(count is not None and self.made >= count for count in self.counts):
            latents = self.model.end_latent.expand(len(state), -1)
        else:
            latents = self.model.sample(state, noise, self.made)
        near = (self.model.end_distances(latents) < config.end_distance).tolist()
        ended = [
            self.made >= count if count is not None else is_near and self.made >= config.least_latents
            for count, is_near in zip(self.counts, near)
        ]
        self.made += 1
        return latents, torch.tensor(ended, device=latents.device)

    def keep(self, rows: Tensor) -> None:
        chosen = rows.tolist()
        self.rows, self.counts = [self.rows[i] for i in chosen], [self.counts[i] for i in chosen]
