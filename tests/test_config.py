"""Config files: typed values, inheritance, interpolation, and messages that name file, key and remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from mld.config import build_tree, load_config, read_overrides, to_plain, to_yaml
from mld.errors import ConfigError


@dataclass
class Data:
    root: str | None = None
    batch_size: int = 4
    quality: list[str] = field(default_factory=lambda: ["good"])
    splits: dict[str, str] = field(default_factory=dict)
    span: tuple[float, float] = (0.0, 1.0)


@dataclass
class Part:
    """Chooses its own reading, as the network sections do."""

    family: str
    inner: Any

    @classmethod
    def from_config(cls, values, build):
        rest = {key: value for key, value in values.items() if key != "family"}
        return cls(values["family"], build(Data, rest))

    def to_config(self):
        return {"family": self.family, **to_plain(self.inner)}


@dataclass
class Root:
    name: str
    stage: Literal["tokenizer", "pretrain"] = "tokenizer"
    debug: bool = False
    rate: float = 1e-3
    data: Data = field(default_factory=Data)
    part: Part | None = None
    losses: dict[str, float] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def fails(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides, Root)
    return str(caught.value)


def test_values_are_typed_and_defaults_kept(tmp_path):
    text = "name: 7\nrate: 1\ndata: {batch_size: 1e2, splits: {train: x}, span: [1, 2]}\nlosses: {l: 2}"
    path = write(tmp_path, a=text)
    config = load_config(path, [], Root)
    assert config.name == "7" and config.rate == 1.0 and isinstance(config.rate, float)
    assert config.data == Data(batch_size=100, splits={"train": "x"}, span=(1.0, 2.0))
    assert config.losses == {"l": 2.0} and config.data.quality == ["good"]


def test_extends_merges_deeply_and_the_later_file_wins(tmp_path):
    (tmp_path / "base").mkdir()
    write(tmp_path / "base", one="rate: 5\ndata: {batch_size: 1, root: here}", two="data: {batch_size: 2}")
    path = write(tmp_path, a="extends: [base/one.yaml, base/two.yaml]\nname: a\ndata: {quality: [fair]}")
    config = load_config(path, [], Root)
    assert (config.rate, config.data) == (5.0, Data(root="here", batch_size=2, quality=["fair"]))


def test_interpolation_and_overrides(tmp_path):
    path = write(tmp_path, a="name: x-${data.batch_size}\ndata: {batch_size: 3}\nrate: ${losses.l}\nlosses: {l: 0.5}")
    config = load_config(path, ["data.batch_size=9", "data.quality=[a,b]", "data.root=null", "free.k.l=1e-4"], Root)
    assert config.name == "x-9" and config.rate == 0.5 and config.data.quality == ["a", "b"]
    assert config.free == {"k": {"l": 1e-4}}
    assert "x-9" in to_yaml(config)


def test_self_reading_sections_and_round_trip(tmp_path):
    path = write(tmp_path, a="name: 'a${oc.env:NOPE,b}'\npart: {family: f, batch_size: 6}\nfree: {t: '\\${kept}'}")
    config = load_config(path, [], Root)
    assert config.part == Part("f", Data(batch_size=6)) and config.free == {"t": "${kept}"}
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "again.yaml", [], Root) == config
    message = fails(path, "part.bath_size=1")
    assert message == "command line: unknown key 'part.bath_size'; did you mean 'batch_size'?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {bacth_size: 4}", "unknown key 'data.bacth_size'; did you mean 'batch_size'?"),
        ("stge: tokenizer", "unknown key 'stge'; did you mean 'stage'?"),
        ("data: {batch_size: many}", "'data.batch_size' is 'many', expected a whole number"),
        ("data: {batch_size: 1.5}", "'data.batch_size' is 1.5, expected a whole number"),
        ("data: {batch_size: true}", "'data.batch_size' is True, expected a whole number"),
        ("debug: 1", "'debug' is 1, expected true or false"),
        ("stage: tokeniser", "'stage' is 'tokeniser', expected one of tokenizer, pretrain; did you mean 'tokenizer'?"),
        ("data: {quality: good}", "'data.quality' is 'good', expected a list (text each)"),
        ("data: {quality: [[1]]}", "'data.quality[0]' is [1], expected text"),
        ("data: {span: [1]}", "'data.span' is [1], expected a list (a number each); found 1 values"),
        ("data: 3", "'data' is 3, expected a mapping (key: value)"),
        ("data: {root: [1]}", "'data.root' is [1], expected text"),
        ("rate: ${nope}", "'rate': Interpolation key 'nope' not found"),
    ],
)
def test_a_mistake_names_file_key_and_remedy(tmp_path, text, expected):
    path = write(tmp_path, a=f"name: a\n{text}")
    assert fails(path) == f"{path}: {expected}"


def test_a_mistake_in_a_parent_names_the_parent(tmp_path):
    path = write(tmp_path, a="extends: b.yaml\nname: a", b="data: {batch_size: x}")
    assert fails(path).startswith(f"{tmp_path / 'b.yaml'}: 'data.batch_size'")
    assert fails(path, "data.batch_size=y").startswith("command line: 'data.batch_size' is 'y'")


def test_files_that_cannot_be_read(tmp_path):
    path = write(tmp_path, tokenizer="name: a", bad="a: [1", text="just words")
    write(tmp_path, circle="extends: circle.yaml", lost="extends: no.yaml")
    assert fails(tmp_path / "tokeniser.yaml").endswith(f"did you mean '{path}'?")
    assert "bad.yaml: not valid YAML" in fails(tmp_path / "bad.yaml")
    assert "text.yaml: " in fails(tmp_path / "text.yaml")
    assert "goes round in a circle" in fails(tmp_path / "circle.yaml")
    assert f"no.yaml (extended by {tmp_path / 'lost.yaml'})" in fails(tmp_path / "lost.yaml")


def test_missing_required_key_and_bad_override(tmp_path):
    path = write(tmp_path, a="rate: 1")
    assert "key 'name' is missing (text)" in fails(path)
    assert fails(path, "name") == "command line: 'name' is not of the form key=value"


def test_a_dataclass_can_check_its_values():
    @dataclass
    class Positive:
        n: int = 1

        def __post_init__(self):
            if self.n < 1:
                raise ValueError("n must be at least 1")

    with pytest.raises(ConfigError, match="n must be at least 1"):
        build_tree(read_overrides(["n=0"]), Positive)


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "more than 50,000 values; aliases that refer to aliases?"),
        ("name: &a [*a]", "line 1: a value that holds itself"),
        ("name: " + "[" * 3000, "nested too deeply"),
        ("rate: " + "9" * 5000, "line 1: a number of 5000 digits"),
        ("name: a\nrate: " + "9" * 310, "expected a number"),
        ("name: 2024-01-01", "a value of the kind 'timestamp'; put it in quotes"),
        ("? [a, b]\n: 1", "a key has to be a name"),
        ("extends: " + "x" * 5000 + ".yaml", "is no name of a file"),
        ("name: ${", "name"),
        ("name: a\ndata: {splits: {1: [2]}}", "data.splits"),
    ],
)
def test_files_that_mean_harm(tmp_path: Path, text: str, expected: str) -> None:
    message = fails(write(tmp_path, a=text))
    assert expected in message and message.isprintable() and len(message) <= 300


@pytest.mark.parametrize("text, word", [
    ("a0: xxxxxxxxxx\n" + "".join(f"a{i}: ${{a{i - 1}}}${{a{i - 1}}}\n" for i in range(1, 40)), "more than"),
    ("a0: {x: 1}\n"
     + "".join(f"a{i}: {{x: '${{a{i - 1}}}', y: '${{a{i - 1}}}'}}\n" for i in range(1, 40)), "more than"),
    ("a: ${b}\nb: ${a}", "circle"), ("a: ${${b}}\nb: c", "within another"), ("a: '${oc.decode:x}'", "no reference"),
    ("a: '" + "${b}" * 2000 + "'\nb: c", "a text with references"),
])  # fmt: skip
def test_references_that_come_to_too_much_are_told_at_once(tmp_path, text, word):
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"bomb.yaml.*{word}"):
        load_config(tmp_path / "bomb.yaml", [], dict)


def test_an_empty_text_on_the_command_line_and_a_key_that_nobody_set(tmp_path: Path) -> None:
    """A shell makes data.root= of data.root=""; what is missing is told with the file that would set it."""
    from mld.training.run_config import load_run

    file = tmp_path / "run.yaml"
    file.write_text("stage: tokenizer\nname: x\ndata: {source: humanml3d}\ntokenizer: {family: causal_ae}\n")
    with pytest.raises(ConfigError) as error:
        load_run(file)
    told = str(error.value)
    assert told == f"{file}: data.root: source 'humanml3d' needs the path of its dataset folder"
    entries = "data.sources=[{source: procedural}]"
    assert load_run(file, ["data.root=", "data.splits=", entries]).data.root == ""
    with pytest.raises(ConfigError, match="'data.max_frames' is None, expected a whole number"):
        load_run(file, ["data.max_frames="])


@dataclass
class Many:
    parts: list[Data] = field(default_factory=list)
    spans: list[list[int]] = field(default_factory=list)
    span: list[int] = field(default_factory=lambda: [1, 2])


MANY = "parts: [{root: a}, {root: b, splits: {train: x}}]\nspans: [[1, 2], [3, 4]]"


def test_a_number_changes_one_entry_of_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, a=MANY)
    changed = ["parts.1.batch_size=9", "parts.1.splits.val=y", "parts.0={root: c}", "spans.1.0=7", "parts[1].root=d"]
    config = load_config(path, changed, Many)
    assert config.parts == [Data(root="c"), Data(root="d", batch_size=9, splits={"train": "x", "val": "y"})]
    assert config.spans == [[1, 2], [7, 4]]
    whole = load_config(path, ["parts=[{root: e}, {}]", "parts.1.batch_size=3"], Many)
    assert whole.parts == [Data(root="e"), Data(batch_size=3)]
    assert load_config(path, ["parts.1.batch_size=3", "parts=[]"], Many).parts == [], "the later one wins"


def test_files_change_entries_of_the_files_that_they_extend(tmp_path: Path) -> None:
    path = write(tmp_path, a="extends: b.yaml\nparts: {1: {batch_size: many}}", b=MANY)
    with pytest.raises(ConfigError) as caught:
        load_config(path, [], Many)
    assert str(caught.value) == f"{path}: 'parts[1].batch_size' is 'many', expected a whole number"
    assert load_config(path, ["parts.1.batch_size=2"], Many).parts[1].batch_size == 2
    path = write(tmp_path, c="extends: a.yaml\nparts: [{root: [1]}, {batch_size: x}]")
    with pytest.raises(ConfigError, match=r"c\.yaml: 'parts\[0\]\.root' is \[1\], expected text"):
        load_config(path, ["parts.1.batch_size=2"], Many)
    with pytest.raises(ConfigError, match=r"c\.yaml: 'parts\[1\]\.batch_size' is 'x'"):
        load_config(path, ["parts.0.root=e"], Many)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("parts.2.root=x", "list 'parts' has no entry 2, it has 2, counted from 0; to add one, give the whole list"),
        ("spans.1.2=5", "list 'spans.1' has no entry 2, it has 2, counted from 0; to add one, give the whole list"),
        ("parts.1.rot=x", "unknown key 'parts[1].rot'; did you mean 'root'?"),
        ("parts.0.batch_size=x", "'parts[0].batch_size' is 'x', expected a whole number"),
        ("parts.1=x", "'parts[1]' is 'x', expected a mapping (key: value)"),
        ("parts.-1.root=x", "'parts' is {'-1': {'root': 'x'}}, expected a list (a mapping (key: value) each)"),
        ("span.1=3", "'span' is {'1': 3}, expected a list (a whole number each); no file has this list: give the whole"
                     " of it"),
    ],
)  # fmt: skip
def test_entries_that_are_not_there_or_wrong(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, a=MANY), [override], Many)
    assert str(caught.value) == f"command line: {message}"


def test_one_source_of_a_mixture_on_the_command_line() -> None:
    from mld.training.run_config import load_run

    file = Path(__file__).parents[1] / "configs" / "bundled" / "vae.yaml"
    run = load_run(file, ["data.sources.0.root=here", "data.sources.2.procedural_size=200"])
    first, _, third = run.data.sources
    assert (str(first.root), first.weight, third.procedural_size, third.weight) == ("here", 0.9, 200, 3.15)
