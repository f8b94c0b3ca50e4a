"""A data loader whose workers hand over an error of the product as it is.

torch makes the traceback of the worker the message of a new error. So an item that cannot be made travels as a value to
the process that trains, and is raised there: a file that has gone during training is told in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from mld.errors import MldError


@dataclass(frozen=True)
class Failed:
    """An item that could not be made."""

    error: MldError


class Loader(DataLoader):
    """As `DataLoader`; the batches of `collate_fn`, errors of the product raised in this process."""

    def __init__(self, dataset: Dataset, collate_fn: Callable[[list], Any], **options: Any) -> None:
        super().__init__(_Told(dataset), collate_fn=_Collate(collate_fn), **options)

    def __iter__(self) -> Iterator[Any]:
        for batch in super().__iter__():
            if isinstance(batch, Failed):
                raise batch.error
            yield batch


class _Told(Dataset):
    """A data set that gives `Failed` where the one within raises."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.dataset[item]
        except MldError as error:
            return Failed(error.with_traceback(None))


    def __getitems__(self, items: list) -> list:
        """A batch at once, where the data set can do that."""
        together = getattr(self.dataset, "__getitems__", None)
        if together is None:
            return [self[item] for item in items]
        try:
            return together(items)
        except MldError as error:
            return [Failed(error.with_traceback(None))]


@dataclass(frozen=True)
class _Collate:
    collate: Callable[[list], Any]

    def __call__(self, items: list) -> Any:
        failed = next((item for item in items if isinstance(item, Failed)), None)
        return failed if failed is not None else self.collate(items)
