"""Tiny text encoders on disk."""

from __future__ import annotations

import pytest

from tests.models.evaluating import write_text_encoder
from tests.models.text_encoding import LAYOUTS


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory) -> tuple[str, str]:
    """Every layout in which a text encoder is published: its name and its folder."""
    return request.param, LAYOUTS[request.param][1](tmp_path_factory.mktemp("hub") / "encoder")


@pytest.fixture
def words(tmp_path) -> str:
    """The folder of a text encoder."""
    return write_text_encoder(tmp_path / "words")
