"""The tokens of all training clips, made once with the frozen tokenizer before a generator is trained.

Of a tokenizer whose tokens stand for frames, the tokens of each whole clip are kept; stretches are cut out of them. Of
one that makes a clip a set of latents, those of every stretch that an example can be made of, as posteriors and not as
samples: training still draws fresh noise. All lie in one array on disk, codes in the smallest type that holds them,
latents in float32 (what encoding gives, to the bit), read clip by clip. Where a clip's tokens
begin is told by a second array. One latent of 256 numbers takes 2 KB, so all tasks of 25,000 clips (15 stretches each)
0.8 GB of disk and text-to-motion alone 0.15 GB; codes of a million clips take 0.1 GB.

The name of a store follows from all it depends on, clips and weights included; it may be deleted at any time. Making it
goes on where it was interrupted. What was damaged since is known by its checksums, and made anew. `prepare.tokens`
makes it beforehand, on many processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.errors import CheckpointError, DataError, one_line
from mld.files import parse_json
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.contracts.tokens import TokenLayout
from mld.reading import read_text
from mld.training.array_file import ArrayFile
from mld.training.token_encoding import Encoding
from mld.training.token_plan import Plan, Stretch, make_plan
from mld.training.token_writing import ABOUT, NAMES, OFFSETS, VALUES, Processes, is_whole, remove, write_store

PREFIX = "tokens-"
HOW, ELSE = "make them with python -m prepare.tokens", "or leave training.tokens out"


class TokenStore(Mapping[str, "Tensor | dict[Stretch, Tensor]"]):
    """By clip number (`at`) or name: codes (L,) int64, latents (L, C) or posteriors (2, L, C), means and log variances,
    of the clip; of a tokenizer of whole clips, these by stretch. Files are opened when first read, in each process for
    itself; names are read when one is asked for."""

    def __init__(self, folder: Path, plan: Plan, layout: TokenLayout) -> None:
        self.folder, self.plan, self.layout = folder, plan, layout
        self._arrays: tuple[ArrayFile, ArrayFile] | None = None

    def at(self, index: int) -> Tensor | dict[Stretch, Tensor]:
        """Of clip `index` of the source."""
        if self._arrays is None:
            self._arrays = ArrayFile(self.folder / VALUES), ArrayFile(self.folder / OFFSETS)
        first, kept = int(self.plan.first[index]), self.plan.stretches(index)
        found = {stretch: self._entry(first + i) for i, stretch in enumerate(kept)}
        return found[kept[0]] if self.layout.frames_per_token else found

    def __getitem__(self, name: str) -> Tensor | dict[Stretch, Tensor]:
        return self.at(self._numbers[name])

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self.plan)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        lines = read_text(self.folder / NAMES).split("\n")[:-1]
        return {parse_json(line): number for number, line in enumerate(lines)}

    def _entry(self, number: int) -> Tensor:
        values, offsets = self._arrays
        rows = values.rows(*offsets.rows(number, number + 2).tolist())
        if self.layout.codebook_size:
            return torch.from_numpy(rows.astype(np.int64))
        found = torch.from_numpy(rows)
        return found.transpose(0, 1).contiguous() if found.ndim == 3 else found

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_numbers"} | {"_arrays": None}

    def bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def report(self) -> str:
        """`1,200 stretches of 400 clips, 2.5 MB, in FOLDER`."""
        total = int(self.plan.first[-1])
        return f"{total:,} stretches of {len(self):,} clips, {self.bytes() / 1e6:,.1f} MB, in {self.folder}"


def token_store(
    tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig, folder: str | Path,
    processes: Processes = Processes(),  # noqa: B008 - frozen
) -> TokenStore | None:  # fmt: skip
    """The tokens of all stretches that examples of `source` can be made of; none if no task has motion in it.

    Found in `folder`, or made there under a progress bar. `DataError` when the disk is too small or a clip cannot be
    encoded, `CheckpointError` for a tokenizer that was never trained."""
    plan = make_plan(tokenizer, source, cfg)
    if not plan.first[-1]:
        return None
    made = Path(folder) / f"{PREFIX}{plan.key}"
    lock = made.with_name(f".{made.name}.lock")  # processes of one run may come here at once
    try:
        if not is_whole(made):
            made.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if not is_whole(made):
                    if made.exists():
                        print(one_line(f"{made}: damaged; made anew"), file=sys.stderr)
                        remove(made)
                    tokenizer.eval()
                    work = Encoding(tokenizer, source)
                    about = _about(plan, tokenizer, source)
                    write_store(made, plan, tokenizer.layout, source.lengths, about, work, processes)
    finally:
        lock.unlink(missing_ok=True)
    return TokenStore(made, plan, tokenizer.layout)


def named_store(
    tokenizer: MotionTokenizer, source: ClipSource, cfg: DataConfig, folder: str | Path
) -> TokenStore | None:
    """The store in a folder that the user names, which is not made: that of this tokenizer and these clips. folder: of
    one store, or of several. `CheckpointError` and `DataError` say what it holds instead, and what to do."""
    plan, folder = make_plan(tokenizer, source, cfg), Path(folder)
    if not plan.first[-1]:
        return None
    found = [folder] if (folder / ABOUT).is_file() else sorted(folder.glob(f"{PREFIX}*"))
    told = {path: about for path in found if (about := _read_about(path)) is not None}
    if not told:
        raise DataError(f"training.tokens: no token store in {folder}; {HOW} --out {folder}, {ELSE}")
    for path, about in told.items():
        if (about["tokenizer"], about["clips"]) == (plan.tokenizer, plan.clips):
            if not is_whole(path):
                raise DataError(f"training.tokens: {path} is damaged; delete it and {HOW} again")
            return TokenStore(path, plan, tokenizer.layout)
    same = [path for path, about in told.items() if about["tokenizer"] == plan.tokenizer]
    path = (same or list(told))[0]
    if same:
        raise DataError(f"training.tokens: {path} holds tokens of other clips ({told[path].get('data', 'unknown')});"
                        f" {HOW} and the data settings of this run, {ELSE}")  # fmt: skip
    made_with = f"{told[path].get('family', 'unknown')} {told[path]['tokenizer']}, this one is {plan.tokenizer}"
    raise CheckpointError(
        f"training.tokens: {path} holds tokens of another tokenizer ({made_with}); {HOW} and this tokenizer, {ELSE}"
    )


def _about(plan: Plan, tokenizer: MotionTokenizer, source: ClipSource) -> dict[str, Any]:
    data = f"{source.name}, {len(plan):,} clips"
    return {"tokenizer": plan.tokenizer, "family": tokenizer.family, "clips": plan.clips, "data": data}


def _read_about(folder: Path) -> dict[str, Any] | None:
    """What a store says of itself; none where it says nothing that can be read."""
    try:
        about = parse_json(read_text(folder / ABOUT))
        return about if isinstance(about["tokenizer"], str) and isinstance(about["clips"], str) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
