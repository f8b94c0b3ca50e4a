"""Texts rewritten by a language model of the user's before they become motion (MotionMillion spec 7): short or odd
texts as sentences of the kind that models were trained on.

Off unless asked for. The model is a folder of the transformers layout, opened when it is needed and gone from memory
when the texts are there. Answers are the likeliest words, so equal texts give equal answers.
"""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mld import reading
from mld.errors import CheckpointError, MldError, one_line, shown
from mld.models.text_encoders.loading import quiet
from mld.weight_files import check_folder, check_loaded

ASKED = (
    "Rewrite the description of a human motion below as one plain sentence that says what the body does, as a witness "
    "would tell it. Keep every action and its order, add none, leave out what a body cannot show. Answer with that "
    "sentence in square brackets and with nothing else.\nDescription: {text}"
)
# For models that were never taught to follow instructions: they go on with a list.
LIST = (
    "Description: waving\nSentence: [a person raises the right hand and waves it from side to side.]\n"
    "Description: sit down, tired\nSentence: [a person walks slowly to a chair and sits down heavily.]\n"
    "Description: {text}\nSentence:"
)
MOST_TOKENS, LONGEST = 160, 600  # of an answer: tokens that are made, characters that are used
BRACKETS = (re.compile(r"\[([^\[\]]+)\]"), re.compile(r"\{([^{}]+)\}"))


@dataclass(frozen=True)
class Rewritten:
    """text: as it was given. said: what is asked in its place, the text itself where note says why nothing was made of
    it."""

    text: str
    said: str
    note: str = ""

    def __str__(self) -> str:
        return self.note or f"{shown(self.text)} is asked as {shown(self.said, 200)}"


def rewrite(
    texts: Sequence[str], folder: str | Path, device: str = "cpu", seed: int = 0,
    on_text: Callable[[Rewritten], None] | None = None,
) -> list[Rewritten]:  # fmt: skip
    """The texts, each rewritten by the causal language model of a folder; equal texts are asked once. on_text is told
    of each. `CheckpointError` where the folder holds none; a text that it has no answer for stays as it is."""
    writer, known = _Writer(Path(folder), device), dict[str, Rewritten]()
    try:
        for text in dict.fromkeys(texts):
            known[text] = writer.one(text, seed)
            if on_text is not None:
                on_text(known[text])
    finally:
        del writer
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return [known[text] for text in texts]


def identity(folder: str | Path) -> str:
    """What a rewriter is known by: its config, and names and sizes of its files, as hashing the weights takes long."""
    place = Path(folder)
    files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else []
    known = "\n".join(f"{path.name} {path.stat().st_size}" for path in files)
    config = reading.read_bytes(place / "config.json") if (place / "config.json").is_file() else b""
    return hashlib.sha256(known.encode("utf-8", "backslashreplace") + config).hexdigest()[:16]


def bracketed(answer: str) -> str:
    """What stands in the first square brackets of an answer, else in the first curly ones, as one line that can be a
    text; "" where there is nothing of the kind."""
    for form in BRACKETS:
        found = form.search(answer)
        if found:
            plain = " ".join(re.sub(r"[#<>|]", " ", found[1]).split()).strip("\"'“”‘’ ")
            plain = "".join(letter for letter in plain if letter.isprintable())
            return plain if any(letter.isalpha() for letter in plain) and len(plain) <= LONGEST else ""
    return ""


class _Writer:
    """A language model in memory."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self.model, self.tokenizer = load_language_model(folder)
        self.model.to(device).eval()

    def one(self, text: str, seed: int) -> Rewritten:
        """seed: should a model draw in spite of being asked for the likeliest words."""
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices), quiet():
            torch.manual_seed(seed)
            answer = self._answer(text)
        said = bracketed(answer)
        if said:
            return Rewritten(text, said)
        return Rewritten(text, text, one_line(f"{shown(text)} stays as it is: the rewriter's answer has no text in "
                                              f"brackets ({shown(answer.strip())})"))  # fmt: skip

    def _answer(self, text: str) -> str:
        from transformers import StoppingCriteria, StoppingCriteriaList

        inputs = {name: value.to(self.model.device) for name, value in self._inputs(text).items()}
        start, decode = inputs["input_ids"].shape[1], self.tokenizer.decode
        most = getattr(self.model.config, "max_position_embeddings", None) or 1 << 20
        if start >= most:
            return f"the text is too long for it: {start} tokens of {most}"

        class Closed(StoppingCriteria):
            """Ends an answer whose brackets are closed."""

            def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
                done = [bool(bracketed(decode(row[start:], skip_special_tokens=True))) for row in ids]
                return torch.tensor(done, device=ids.device)

        pad = self.tokenizer.pad_token_id
        made = self.model.generate(
            **inputs, do_sample=False, num_beams=1, max_new_tokens=min(MOST_TOKENS, most - start),
            pad_token_id=self.tokenizer.eos_token_id if pad is None else pad,
            stopping_criteria=StoppingCriteriaList([Closed()]),
        )  # fmt: skip
        return decode(made[0, start:], skip_special_tokens=True)

    def _inputs(self, text: str) -> dict[str, torch.Tensor]:
        """Token ids (1, S) and mask (1, S), by the model's chat template where it has one."""
        try:
            if not self.tokenizer.chat_template:
                made = self.tokenizer(LIST.format(text=text), return_tensors="pt")
            else:
                made = self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": ASKED.format(text=text)}], add_generation_prompt=True,
                    return_tensors="pt", return_dict=True,
                )  # fmt: skip
        except Exception as error:  # templates are programs of others
            raise CheckpointError(f"{self.folder}: its chat template fails ({one_line(str(error))[:120]})") from error
        return {name: made[name] for name in ("input_ids", "attention_mask")}


def load_language_model(folder: Path) -> tuple[Any, Any]:
    """A causal language model and its tokenizer of a folder; no code in it is run. `CheckpointError` says what is wrong
    with it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no config.json there; name a local folder of a causal language model")
    check_folder(folder)
    reading.check_folder(folder)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            model, report = AutoModelForCausalLM.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, dtype="auto", output_loading_info=True
            )
    except Exception as error:  # of damaged files libraries raise what comes to hand
        if isinstance(error, MldError):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(f"{folder}: no causal language model can be read ({reason})") from error
    check_loaded(report, str(folder))
    return model, tokenizer
