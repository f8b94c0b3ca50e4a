"""How answers are sampled. Every setting is explicit and saved in the model's config (no library defaults)."""

from __future__ import annotations

from dataclasses import dataclass

from mld.errors import ConfigError


@dataclass
class GenerationSettings:
    """do_sample False is greedy. max_length counts generated tokens. top_k 0 and top_p 1.0 switch a filter off.
    repetition_penalty: logits of tokens that the answer already has are divided by it where positive, multiplied where
    negative (CTRL, Keskar et al. 2019); tokens of the prompt do not count. constrain: allow only tokens that make a
    well-formed answer of the wanted kind and length."""

    do_sample: bool = True
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_length: int = 128
    constrain: bool = True

    def __post_init__(self) -> None:
        if self.max_length < 1 or self.top_k < 0:
            raise ConfigError(f"max_length is {self.max_length} and top_k {self.top_k}, expected from 1 and from 0 on")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}, expected a number above 0 and up to 1")
        for name in ("temperature", "repetition_penalty"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise ConfigError(f"{name} is {value}, expected a number above 0; do_sample=false takes the likeliest")
