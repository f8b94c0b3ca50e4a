"""The three families in the registry, while its tests run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mld.models import registry

TABLE = {
    "tokenizer": {"fours": "tests.families.fours:Fours"},
    "generator": {
        "in_order": "tests.families.in_order:InOrder",
        "under_prefix": "tests.families.under_prefix:UnderPrefix",
        "at_once": "tests.families.at_once:AtOnce",
    },
}


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for kind, families in TABLE.items():
            for name, place in families.items():
                patch.setitem(registry.FAMILIES[kind], name, place)
        yield
