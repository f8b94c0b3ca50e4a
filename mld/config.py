"""YAML -> checked, typed configuration.

A file may name parents with `extends:` (a path or a list of paths, relative to the file), is merged over them, may use
OmegaConf interpolation (`${data.batch_size}`), and is built into a dataclass. A number changes one entry of a list
(`data.sources.2.weight=3`, from 0 on); the list itself replaces another. Every mistake is a `ConfigError` that
names the file the value came from, the key, and the nearest valid key or the type that was expected.
A class with `from_config(values, build)` and `to_config()` decides itself how its mapping is read and written; it and
a dataclass's `__post_init__` may raise ValueError or ConfigError, to which file and key are added.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from mld import packaged
from mld.errors import ConfigError, nearest, shown
from mld.interpolation import check_interpolation
from mld.reading import read_bytes
from mld.yaml_text import check_yaml

T = TypeVar("T")
COMMAND_LINE = "command line"
MOST_PARENTS = 20  # files that one file extends
LARGEST = 10**300  # of whole numbers, as it has to be told as a float, too


@dataclasses.dataclass
class Tree:
    """A merged mapping of plain values; `origins` says for each dotted key which file (or override) set it."""

    values: dict[str, Any]
    origins: dict[str, str]

    def origin(self, key: str) -> str:
        """Where `key`, or the nearest of its parents that somebody set, comes from."""
        while key and key not in self.origins:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.origins.get(key, "config")

    def over(self, base: Tree) -> Tree:
        """This tree merged over `base`: mappings merge key by key, a mapping of numbers is merged with those entries of
        a list, everything else replaces. `ConfigError` for an entry that is not there."""
        origins = dict(base.origins)
        for key, origin in self.origins.items():
            place, found, own = _place(key, base.values, self.values)
            if isinstance(own, list):  # what is known of entries is of others
                origins = {name: where for name, where in origins.items() if not name.startswith(f"{place}[")}
            if not _changes_entries(found, own):
                origins[place] = origin
        return Tree(_merge(base.values, self.values, self.origin), origins)


def load_config(path: str | Path, overrides: Sequence[str], schema: type[T]) -> T:
    """The config file at `path`, with `key.sub=value` overrides, as an instance of the dataclass `schema`."""
    return build_tree(read_overrides(overrides).over(read_tree(path)), schema)


def build_tree(tree: Tree, schema: type[T]) -> T:
    """Resolve interpolation and build `schema` from the tree."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        check_interpolation(tree.values)
        values = OmegaConf.to_container(OmegaConf.create(tree.values), resolve=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", "") or ""
        raise ConfigError(f"{tree.origin(key)}: '{key}': {_reason(error)}") from error
    except ValueError as error:
        key = str(error).split("'")[1] if "'" in str(error) else ""
        raise ConfigError(f"{tree.origin(key)}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{tree.origin('')}: values that refer to each other in a circle") from error
    return _Builder(tree.origin).build(schema, values, "")


def typed(schema: type[T], values: Mapping[str, Any], where: str) -> T:
    """Plain values as an instance of the dataclass `schema`; `ConfigError` begins with `where` they are from."""
    return _Builder(lambda key: where).build(schema, values, "")


def read_tree(path: str | Path, _open: tuple[Path, ...] = ()) -> Tree:
    """Read one YAML file and the files it extends; nothing is checked against a schema yet."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = Path(path)
    _check_exists(path, _open)
    if path.resolve() in _open:
        raise ConfigError(f"{path}: 'extends' goes round in a circle")
    try:
        text = check_yaml(read_bytes(path))
        values: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except (YAMLError, OSError, ValueError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found a {type(values).__name__}")
    parents = values.pop("extends", [])
    parents = [parents] if isinstance(parents, str) else parents
    if not isinstance(parents, list) or not all(isinstance(p, str) for p in parents) or len(parents) > MOST_PARENTS:
        raise ConfigError(f"{path}: 'extends' is {shown(parents)}, expected a path or a list of paths")
    tree = Tree(values, {key: str(path) for key in _keys(values)})
    for parent in reversed(parents):
        tree = tree.over(read_tree(path.parent / parent, (*_open, path.resolve())))
    return tree


def read_overrides(overrides: Sequence[str]) -> Tree:
    """`["a.b=1", "c=[x, y]"]` as a tree; values are read as YAML."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{COMMAND_LINE}: {shown(override)} is not of the form key=value")
        try:
            check_yaml(override[len(key) + 1 :])
            one = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
        except (OmegaConfBaseException, YAMLError, ValueError) as error:
            raise ConfigError(f"{COMMAND_LINE}: cannot read {shown(override)}: {_reason(error)}") from error
        values = _merge(values, one, lambda key: COMMAND_LINE)
    return Tree(values, dict.fromkeys(_keys(values), COMMAND_LINE))


def to_plain(config: Any) -> Any:
    """A config instance as plain mappings, lists and values, such that `build_tree` gives it back."""
    if hasattr(config, "to_config"):
        return to_plain(config.to_config())
    if dataclasses.is_dataclass(config):
        return {field.name: to_plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): to_plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_plain(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def to_yaml(config: Any) -> str:
    """The resolved config as YAML text."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(_escape(to_plain(config))))


class _Builder:
    """Builds typed values; `origin(key)` says where a key came from."""

    def __init__(self, origin: Callable[[str], str]) -> None:
        self.origin = origin

    def build(self, expected: Any, value: Any, key: str) -> Any:
        """`value`, found under the dotted `key`, as an instance of the type `expected`."""
        origin, arguments = typing.get_origin(expected), typing.get_args(expected)
        if expected is Any:
            return value
        if hasattr(expected, "from_config"):
            values = self._mapping(expected, value, key)
            try:
                return expected.from_config(values, lambda schema, part: self.build(schema, part, key))
            except ValueError as error:
                raise ConfigError(f"{self.origin(key)}: {key}: {error}") from error
        if dataclasses.is_dataclass(expected):
            return self._dataclass(expected, self._mapping(expected, value, key), key)
        if origin in (Union, types.UnionType):
            return self._union(expected, arguments, value, key)
        if origin is Literal:
            if not isinstance(value, (str, int, float)) or value not in arguments:
                self._fail(key, value, expected, nearest(value, [str(a) for a in arguments]))
            return value
        if origin in (list, tuple) or expected in (list, tuple):
            return self._sequence(expected, origin or expected, arguments, value, key)
        if origin is dict or expected is dict:
            of = arguments[1] if arguments else Any
            values = self._mapping(expected, value, key)
            return {str(name): self.build(of, part, _join(key, name)) for name, part in values.items()}
        return self._scalar(expected, value, key)

    def _dataclass(self, schema: Any, values: Mapping[str, Any], key: str) -> Any:
        fields = {field.name: field for field in dataclasses.fields(schema) if field.init}
        hints = typing.get_type_hints(schema)
        for name in values:
            if name not in fields:
                where = self.origin(_join(key, name))
                raise ConfigError(f"{where}: unknown key '{_join(key, name)}'; {nearest(name, list(fields))}")
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                raise ConfigError(f"{self.origin(key)}: key '{_join(key, name)}' is missing ({_say(hints[name])})")
        built = {name: self.build(hints[name], value, _join(key, name)) for name, value in values.items()}
        try:
            return schema(**built)
        except (ValueError, ConfigError) as error:  # a dataclass may check its values in __post_init__
            told = f"{key}: {error}" if key else str(error)
            raise ConfigError(f"{self.origin(key or told.partition(':')[0])}: {told}") from error

    def _union(self, expected: Any, options: Sequence[Any], value: Any, key: str) -> Any:
        if value is None and type(None) in options:
            return None
        options = [option for option in options if option is not type(None)]
        if len(options) == 1:
            return self.build(options[0], value, key)
        for option in options:
            try:
                return self.build(option, value, key)
            except ConfigError:
                continue
        return self._fail(key, value, expected)

    def _sequence(self, expected: Any, kind: type, arguments: Sequence[Any], value: Any, key: str) -> Any:
        if not isinstance(value, (list, tuple)):
            entries = isinstance(value, Mapping) and value and all(_is_number(name) for name in value)
            self._fail(key, value, expected, "no file has this list: give the whole of it" if entries else "")
        fixed = kind is tuple and arguments and Ellipsis not in arguments
        if fixed and len(arguments) != len(value):
            self._fail(key, value, expected, f"found {len(value)} values")
        of = list(arguments) if fixed else [arguments[0] if arguments else Any] * len(value)
        return kind(self.build(one, part, f"{key}[{i}]") for i, (one, part) in enumerate(zip(of, value)))

    def _scalar(self, expected: type, value: Any, key: str) -> Any:
        number = isinstance(value, float) or (type(value) is int and abs(value) < LARGEST)
        if expected is float and number:
            return float(value)
        if expected is int and number and float(value).is_integer():
            return int(value)
        if expected is str and number and isinstance(value, int):
            return str(value)
        if expected is str and value is None and self.origin(key) == COMMAND_LINE:
            return ""  # "key=" is how a shell passes on key=""
        if expected is Path and isinstance(value, str):
            return Path(value)
        if expected not in (int, float) and isinstance(value, expected):
            return value
        return self._fail(key, value, expected)

    def _mapping(self, expected: Any, value: Any, key: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self._fail(key, value, expected)
        return value

    def _fail(self, key: str, value: Any, expected: Any, hint: str = "") -> Any:
        hint = f"; {hint}" if hint else ""
        raise ConfigError(f"{self.origin(key)}: '{key}' is {shown(value)}, expected {_say(expected)}{hint}")


_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}


def _say(expected: Any) -> str:
    """A type in words for a message."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _say(a) for a in arguments)
    if (origin or expected) in (list, tuple):
        return f"a list ({_say(arguments[0])} each)" if arguments else "a list"
    if (origin or expected) is dict or dataclasses.is_dataclass(expected) or hasattr(expected, "from_config"):
        return "a mapping (key: value)"
    return _WORDS.get(expected, getattr(expected, "__name__", str(expected)))


def _reason(error: Exception) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _merge(base: Any, top: Any, origin: Callable[[str], str], prefix: str = "") -> Any:
    if _changes_entries(base, top):
        found = list(base)
        for number, value in top.items():
            if int(number) >= len(base):
                there = f"it has {len(base)}, counted from 0" if base else "it is empty"
                raise ConfigError(
                    f"{origin(_join(prefix, number))}: list '{prefix}' has no entry {number}, {there}; to add one, give"
                    " the whole list"
                )
            found[int(number)] = _merge(base[int(number)], value, origin, _join(prefix, number))
        return found
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    both = {key: _merge(base[key], value, origin, _join(prefix, key)) for key, value in top.items() if key in base}
    return {**base, **top, **both}


def _changes_entries(base: Any, top: Any) -> bool:
    """Whether `top` names entries of the list `base` by their numbers."""
    return isinstance(base, list) and isinstance(top, dict) and bool(top) and all(_is_number(key) for key in top)


def _is_number(key: Any) -> bool:
    return str(key).isascii() and str(key).isdecimal() and len(str(key)) < 10


def _place(key: str, base: Any, top: Any) -> tuple[str, Any, Any]:
    """A dotted key with the numbers of entries of lists in `base` in brackets, and what stands there in both."""
    place = ""
    for part in key.split("."):
        if _changes_entries(base, top) and _is_number(part):
            place = f"{place}[{int(part)}]"
            base = base[int(part)] if int(part) < len(base) else None
        else:
            place = _join(place, part)
            base = base.get(part) if isinstance(base, dict) else None
        top = _named(top, part)
    return place, base, top


def _named(values: Any, part: str) -> Any:
    """What a mapping has under a key that is written like this; files may have numbers for keys."""
    pairs = values.items() if isinstance(values, dict) else ()
    return next((value for key, value in pairs if str(key) == part), None)


def _keys(values: Any, prefix: str = "") -> list[str]:
    """All dotted keys of nested mappings, inner nodes included."""
    if not isinstance(values, dict):
        return []
    found = []
    for key, value in values.items():
        found += [_join(prefix, key), *_keys(value, _join(prefix, key))]
    return found


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}.{key}" if prefix else str(key)


def _escape(value: Any) -> Any:
    """Protect literal `${` in resolved text from being read as interpolation again."""
    if isinstance(value, dict):
        return {key: _escape(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_escape(part) for part in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def _check_exists(path: Path, opened_from: tuple[Path, ...]) -> None:
    try:
        if path.is_file():
            return
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise ConfigError(f"{shown(str(path))} is no name of a file ({_reason(error)})") from error
    by = f" (extended by {opened_from[-1]})" if opened_from else ""
    raise ConfigError(f"no config file {path}{by}; {_nearest_file(path)}")


def _nearest_file(path: Path) -> str:
    """The existing YAML file whose path is most like `path`, looked for around it and under `configs`."""
    folders = {folder for folder in (path.parent, path.parent.parent, Path("configs")) if folder.is_dir()}
    found = sorted({str(file) for folder in folders for file in [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]})
    near = difflib.get_close_matches(str(path), found, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"packaged ones: {nearest(str(path), packaged.config_names())}"
