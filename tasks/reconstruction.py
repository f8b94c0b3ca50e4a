"""Reconstruction: a clip through the motion tokenizer and back. Needs no language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mld.engine.checks import check_clip
from mld.engine.request import Answer, Request, named
from mld.evaluation.task import PLAIN, ScoreOptions, Scores, Setting, Task
from mld.example import CaptionedClip, Clip
from mld.metrics.results import Score
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.motion.representations.base import Representation
from mld.motion.representations.registry import get_representation
from mld.padding import padded
from tasks.lines import read_line, the_motion, without_length


class Reconstruction(Task):
    """`path.npy`."""

    name = "recon"
    protocol = "recon"
    as_it_is = True

    def request(self, clip: CaptionedClip, setting: Setting) -> Request:
        whole = Clip(features=clip.features)
        return Request((whole,), "motion", num_frames=clip.num_frames, seed=setting.seed, name=clip.name)

    def parse(self, line: str, setting: Setting) -> Request:
        read = read_line(line, setting)
        clip = the_motion(without_length(read), setting)
        frames = len(clip.features)
        return Request((clip,), "motion", num_frames=frames, seed=setting.seed, name=read.motions[0].stem)

    def scores(self, representation: Representation, options: ScoreOptions = PLAIN) -> Scores:
        return _Reconstruction(representation)

    def check(self, engine, request: Request) -> None:
        tokenizer = _tokenizer(engine)
        check_clip(request.prompt[-1], get_representation(tokenizer.representation), tokenizer.layout)

    def answers(self, engine, requests: Sequence[Request], batch_size: int, progress: bool = False) -> list[Answer]:
        """engine: a pipeline or a `MotionTokenizer` alone."""
        tokenizer = _tokenizer(engine)
        for request in requests:
            named(request, self.check, engine, request)
        batches = range(0, len(requests), batch_size)
        if progress:
            from tqdm import tqdm

            batches = tqdm(batches, desc="recon", unit="batch")
        made = [answer for start in batches for answer in _reconstruct(tokenizer, requests[start : start + batch_size])]
        return made if engine is tokenizer else [engine.embodied(answer, keeps_given=False) for answer in made]


def _tokenizer(engine) -> MotionTokenizer:
    return engine if isinstance(engine, MotionTokenizer) else engine.model.tokenizer


@torch.inference_mode()
def _reconstruct(tokenizer: MotionTokenizer, requests: Sequence[Request]) -> list[Answer]:
    """One padded batch through `encode` and `decode`. Where a token is a fixed number of frames, a length that is no
    multiple of it loses the rest."""
    features, mask = padded([request.prompt[-1].features for request in requests], tokenizer.device)
    lengths = mask.sum(1)
    tokens, token_mask = tokenizer.encode(features, mask)
    decoded = tokenizer.decode(tokens, token_mask, mask).cpu()
    representation = get_representation(tokenizer.representation)
    counts, step = token_mask.sum(1), tokenizer.layout.frames_per_token
    frames = counts * step if step else lengths
    rows = [row[:count] for row, count in zip(decoded, frames.tolist())]
    return [
        Answer(request, motion=representation.decode(row), features=row, tokens=own[:count].cpu())
        for request, row, own, count in zip(requests, rows, tokens, counts.tolist())
    ]


class _Reconstruction(Scores):
    """MPJPE, PAMPJPE (mm) and ACCEL (mm per frame squared) over the frames that come back, and means of clips; how
    evenly codes are used, where tokens are codes."""

    def __init__(self, representation: Representation) -> None:
        from mld.metrics.code_use import CodeUse
        from mld.metrics.joints import ClipErrors, JointErrors

        self.representation = representation
        self.errors, self.of_clips, self.use = JointErrors(), ClipErrors(), CodeUse()

    def update(self, clip: CaptionedClip, answer: Answer, number: int | None = None) -> None:
        frames = answer.motion.num_frames
        reference = self.representation.decode(clip.features[:frames]).joints
        ids = None if number is None else [number]
        for errors in (self.errors, self.of_clips):
            errors.update(answer.motion.joints[None], reference[None], torch.ones(1, frames, dtype=torch.bool), ids)
        if answer.tokens is not None and not answer.tokens.is_floating_point():
            self.use.update(answer.tokens, number)

    def compute(self, draws: int = 0, seed: int = 0) -> dict[str, Score]:
        used = self.use.scores()  # of all processes: asked for by each of them, whatever its own clips were
        found = self.errors.scores(draws, seed) | self.of_clips.scores(draws, seed)
        return found | {name: score for name, score in used.items() if score.n}


TASK = Reconstruction()
