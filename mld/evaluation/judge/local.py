"""A judge in a local folder: a vision-language model of the transformers layout. Code in the folder is never run."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mld import reading
from mld.engine.rewriting import identity
from mld.errors import CheckpointError, MldError, one_line
from mld.evaluation.judge.contract import JudgeError, introduced
from mld.models.text_encoders.loading import quiet
from mld.weight_files import check_folder, check_loaded

MOST_TOKENS = 512  # of an answer


class LocalJudge:
    """Answers are the likeliest words, so equal questions have equal answers. One question at a time."""

    def __init__(self, folder: Path, device: str = "cpu", most_tokens: int = MOST_TOKENS) -> None:
        self.folder, self.most_tokens = folder, most_tokens
        self.identity = f"{folder.resolve().name}-{identity(folder)}"
        self.model, self.processor = load_vision_language_model(folder)
        self.model.to(device).eval()
        self._lock = threading.Lock()

    def ask(self, question: str, pictures: Sequence[bytes], fps: float) -> str:
        images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
        text = introduced(question, pictures, fps)
        try:
            with self._lock, torch.inference_mode(), quiet():
                answer = self._answer(text, images)
        except Exception as error:  # a question too long for it, too little memory; templates are programs of others
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            reason = one_line(f"{kind}{error}")[:160]
            raise JudgeError(f"judge {self.folder} cannot answer ({reason}); {len(images)} pictures") from error
        if not answer.strip():
            raise JudgeError(f"judge {self.folder} answered nothing")
        return answer.strip()

    def _answer(self, text: str, images: Sequence[Image.Image]) -> str:
        inputs = self._inputs(text, images).to(self.model.device)
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                inputs[name] = value.to(self.model.dtype)
        start = inputs["input_ids"].shape[1]
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        if start + self.most_tokens > most:
            raise ValueError(f"{start} tokens of question and pictures, {self.most_tokens} of answer; it has {most}")
        made = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=self.most_tokens)
        return self.processor.batch_decode(made[:, start:], skip_special_tokens=True)[0]

    def _inputs(self, text: str, images: Sequence[Image.Image]) -> Any:
        """By the chat template where the folder has one, else the places of the pictures before the text."""
        if getattr(self.processor, "chat_template", None):
            content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
            return self.processor.apply_chat_template(
                [{"role": "user", "content": [*content, {"type": "text", "text": text}]}], add_generation_prompt=True,
                tokenize=True, return_dict=True, return_tensors="pt",
            )  # fmt: skip
        place = getattr(self.processor, "image_token", "<image>")
        return self.processor(images=list(images), text=[place * len(images) + "\n" + text], return_tensors="pt")


def load_vision_language_model(folder: Path) -> tuple[Any, Any]:
    """A model that reads pictures and text, and its processor, of a folder. `CheckpointError` says what is wrong with
    it."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no config.json there; name a local folder of a vision-language model")
    check_folder(folder)
    reading.check_folder(folder)
    try:
        with quiet():
            processor = AutoProcessor.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            model, report = AutoModelForImageTextToText.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, dtype="auto", output_loading_info=True
            )
    except Exception as error:  # of damaged files libraries raise what comes to hand
        if isinstance(error, MldError):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:150]
        if isinstance(error, ImportError) and "orchvision" in reason:  # of processors that read videos, too
            reason = "its processor needs the package 'torchvision', in the build that fits your torch; install it"
        raise CheckpointError(f"{folder}: no vision-language model can be read ({reason})") from error
    check_loaded(report, str(folder))
    if not hasattr(processor, "image_processor"):
        raise CheckpointError(f"{folder}: its processor reads no pictures; name a vision-language model")
    return model, processor
