"""JSON that may come from anywhere."""

import json

import pytest

from mld.files import parse_json


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r'"\ud800"', "\ufffd"), (r'"a\udc00b"', "a\ufffdb"), (r'"\uD83D\uDE00"', "\U0001f600"),
        (r'"\\ud800"', r"\ud800"), (r'"\\\ud800"', "\\\ufffd"), (r'"\ud800\ud83d\ude00"', "\ufffd\U0001f600"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"), (r'"\"\n\u0041"', '"\nA'),
    ],
)  # fmt: skip
def test_halves_of_characters_become_the_sign_for_none(text: str, wanted: str) -> None:
    assert parse_json(text) == parse_json(text.encode()) == wanted


def test_bytes_of_other_encodings_are_read() -> None:
    assert parse_json(json.dumps({"a": "ä"}, ensure_ascii=False).encode("utf-16")) == {"a": "ä"}
    with pytest.raises(ValueError):
        parse_json(b'"\xff"')
