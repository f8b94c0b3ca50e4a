"""YAML texts of strangers, looked at before a value is made of them.

A few lines of aliases to aliases stand for billions of values, and a number of a million digits takes minutes to read.
So the text is first taken apart into nodes, where an alias is no copy, and these are counted.
"""

from __future__ import annotations

import re
from typing import Any

LARGEST = 1_000_000  # bytes of a text
MOST_VALUES, DEEPEST, MOST_DIGITS = 50_000, 50, 400
_HALF = re.compile("[\ud800-\udfff]")
_KNOWN = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}


def read_yaml(text: str | bytes) -> Any:
    """The value of a YAML text, made of mappings, lists, texts, numbers, true, false and null alone. Characters that
    JSON writes as two halves (`\\ud83d\\ude00`) are whole; a half alone, which no file and no hash takes, is U+FFFD.

    `ValueError` or `yaml.YAMLError` as `check_yaml`."""
    import yaml

    return _whole(yaml.safe_load(check_yaml(text)))


def check_yaml(text: str | bytes) -> str:
    """The text, UTF-8, if it is one that can be read: `ValueError` or `yaml.YAMLError` for too much, what is nested too
    deeply or within itself, numbers of hundreds of digits, values of other kinds than JSON has, keys that are lists or
    stand twice."""
    import yaml

    if len(text) > LARGEST:
        raise ValueError(f"{len(text):,} characters; at most {LARGEST:,} are read")
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _count(root, {}, 0)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return text


def _count(node: Any, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for. known: of nodes that were counted, 0 for those that are being counted."""
    import yaml

    if (size := known.get(id(node))) is not None:
        if not size:
            raise ValueError(f"{_place(node)}: a value that holds itself")
        return size
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if node.tag not in _KNOWN:
        raise ValueError(f"{_place(node)}: a value of the kind {node.tag.rpartition(':')[2][:40]!r}; put it in quotes")
    known[id(node)] = 0
    size = 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith((":int", ":float")) and len(node.value) > MOST_DIGITS:
            raise ValueError(f"{_place(node)}: a number of {len(node.value)} digits")
    else:
        for part in node.value:
            for child in part if isinstance(part, tuple) else (part,):
                size += _count(child, known, depth + 1)
            if isinstance(part, tuple) and not isinstance(part[0], yaml.ScalarNode):
                raise ValueError(f"{_place(part[0])}: a key has to be a name")
        if isinstance(node, yaml.MappingNode):
            _check_keys([key for key, _ in node.value])
    if size > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values; aliases that refer to aliases?")
    known[id(node)] = size
    return size


def _check_keys(keys: list[Any]) -> None:
    """`ValueError` for a key that stands twice in a mapping: the first one would be lost without a word."""
    seen: set[tuple[str, str]] = set()
    for key in keys:
        if (key.tag, key.value) in seen and not key.tag.endswith(":merge"):
            raise ValueError(f"{_place(key)}: the key '{key.value[:40]}' is there twice")
        seen.add((key.tag, key.value))


def _whole(value: Any) -> Any:
    """A value whose texts have no halves of UTF-16 characters."""
    if isinstance(value, str):
        return value if not _HALF.search(value) else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


def _place(node: Any) -> str:
    return f"line {node.start_mark.line + 1}"
