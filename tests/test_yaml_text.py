"""YAML of strangers: nothing in it is lost without a word."""

from __future__ import annotations

import json

import pytest

from mld.yaml_text import read_yaml


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "- {x: 1, x: 1}", "a: {b: {c: 1, d: 2, c: 3}}"])
def test_a_key_that_is_there_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is there twice"):
        read_yaml(text)


def test_one_key_at_several_places_is_fine() -> None:
    assert read_yaml("a: {x: 1}\nb: {x: 1}\nc: [{x: 1}, {x: 2}]")["c"] == [{"x": 1}, {"x": 2}]
    assert read_yaml("1: a\n'1': b") == {1: "a", "1": "b"}
    assert read_yaml("one: &one {x: 1}\ntwo: {<<: *one, y: 2}")["two"] == {"x": 1, "y": 2}


def test_characters_that_json_writes_as_halves_are_whole() -> None:
    content = {"\U0001f57a": ["waves \U0001f44b", {"n": 1}]}
    assert read_yaml(json.dumps(content)) == content
    assert read_yaml('"a \\ud83d b"') == "a \ufffd b"
