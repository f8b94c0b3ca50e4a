"""The three families in the registry, for the time of a test."""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, families in TABLE.items():
        for name, place in families.items():
            monkeypatch.setitem(registry.FAMILIES[kind], name, place)
