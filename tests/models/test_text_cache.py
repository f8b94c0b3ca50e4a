"""The disk cache of text features: what was computed comes back, millions open fast, several processes fill one folder.

`python -m tests.models.test_text_cache 1000000` prints what a folder of so many texts costs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mld.errors import CheckpointError, ConfigError
from mld.models.contracts.text_encoder import TextFeatures
from mld.models.text_encoders import cache as module
from mld.models.text_encoders.bert import BertEncoder
from mld.models.text_encoders.cache import INDEX, FeatureCache
from mld.models.text_encoders.index import Index, as_tensor, key_of
from tests.models.evaluating import TEXTS, write_text_encoder

ROOT = Path(__file__).parents[2]
FILL = "import sys; from tests.models.test_text_cache import fill; fill(sys.argv[1], *map(int, sys.argv[2:]))"
MANY = 200_000


def features(number: int, width: int = 8) -> TextFeatures:
    """Known values of a text of 1 to 7 tokens."""
    draw = torch.Generator().manual_seed(number)
    return TextFeatures(torch.randn(1 + number % 7, width, generator=draw), torch.randn(4, generator=draw))


def some(first: int, last: int) -> dict[str, TextFeatures]:
    return {f"text {number}": features(number) for number in range(first, last)}


def fill(folder: str, first: int, last: int) -> None:
    cache = FeatureCache(Path(folder))
    for start in range(first, last, 5):
        cache.put(some(start, min(start + 5, last)))


def same(cache: FeatureCache, want: dict[str, TextFeatures]) -> None:
    found = cache.get(list(want))
    assert list(found) == list(want) and not cache.missing(list(want))
    for text, (tokens, sentence) in want.items():
        assert torch.equal(found[text].tokens, tokens) and torch.equal(found[text].sentence, sentence)


def test_a_cache_that_does_not_grow_reads_the_folder_and_remembers_some(tmp_path, monkeypatch) -> None:
    FeatureCache(tmp_path).put(some(0, 10))
    files = sorted(tmp_path.rglob("*.safetensors"))
    cache = FeatureCache(tmp_path)
    cache.grows = False
    cache.put(some(10, 14))
    assert list(cache.get(list(some(8, 12)))) == list(some(8, 12))
    assert sorted(tmp_path.rglob("*.safetensors")) == files
    monkeypatch.setattr(module, "REMEMBERED_BYTES", 2 * (7 * 8 + 4) * 4)
    for number in range(100, 140):
        cache.put(some(number, number + 1))
    known = cache.get(list(some(100, 140)))
    assert 2 <= len(known) < 20 and "text 139" in known, "as many of the latest as fit into so many bytes"
    assert cache._memory_bytes == sum(part.nbytes for one in known.values() for part in one)


def test_what_was_put_comes_back(tmp_path) -> None:
    cache, want = FeatureCache(tmp_path), some(0, 30)
    cache.put(dict(list(want.items())[:20]))
    assert cache.missing([*want, *want, "another"]) == [*list(want)[20:], "another"]
    cache.put(dict(list(want.items())[20:]))
    cache.put({})
    for opened in (cache, FeatureCache(tmp_path)):
        same(opened, want)
        assert opened.get(["another"]) == {} and opened.get([]) == {} and opened.missing([]) == []
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2, "one file per write"
    assert not list(tmp_path.rglob(".*")), "nothing half written stays"


def test_cached_features_are_the_computed_ones(tmp_path) -> None:
    folder = write_text_encoder(tmp_path / "bert")
    naive, encoder = BertEncoder(folder).compute(TEXTS), BertEncoder(folder)
    encoder.keep_in(tmp_path / "cache")
    encoder.encode(TEXTS[:2])
    for again in (encoder.encode(TEXTS), encoder.encode(TEXTS)):
        for ours, theirs in zip(again, naive):
            torch.testing.assert_close(ours.tokens, theirs.tokens, atol=5e-6, rtol=1e-5)
            torch.testing.assert_close(ours.sentence, theirs.sentence, atol=5e-6, rtol=1e-5)
    assert [file.parent.name for file in tmp_path.rglob("cache/*/*.safetensors")] == [encoder.identity] * 2


def test_a_file_holds_a_bounded_number_of_texts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PER_FILE", 8)
    FeatureCache(tmp_path).put(some(0, 30))
    assert len(list(tmp_path.glob("*.safetensors"))) == 4
    same(FeatureCache(tmp_path), some(0, 30))


@pytest.mark.parametrize("tokens, size", [("float32", 4), ("float16", 2), ("none", 0)])
def test_tokens_are_kept_as_wanted(tokens: str, size: int, tmp_path) -> None:
    """What comes back does not depend on whether it was stored or just computed; sentences stay whole."""
    encoder = BertEncoder(write_text_encoder(tmp_path / "bert"))
    whole = encoder.encode(TEXTS)
    encoder.keep_in(tmp_path / "cache", tokens)
    first, second = encoder.encode(TEXTS), encoder.encode(TEXTS)
    for a, b, full in zip(first, second, whole):
        assert torch.equal(a.tokens, b.tokens) and torch.equal(a.sentence, b.sentence)
        assert a.tokens.dtype == torch.float32 and torch.equal(a.sentence, full.sentence)
        if tokens == "none":
            assert a.tokens.shape == (0, encoder.width)
        else:
            torch.testing.assert_close(a.tokens, full.tokens, atol=2e-3 if tokens == "float16" else 0, rtol=1e-3)
    stored = next((tmp_path / "cache").rglob("*.safetensors")).stat().st_size
    values = sum(row.tokens.numel() for row in whole)
    assert stored == pytest.approx(values * size, abs=1000 + 6 * 16 * 4)
    huge = TextFeatures(torch.full((1, 2), 1e9), torch.ones(1))
    assert FeatureCache(tmp_path / "half", "float16").kept(huge).tokens.isfinite().all()


def test_precisions_do_not_mix(tmp_path) -> None:
    encoder = BertEncoder(write_text_encoder(tmp_path / "bert"))
    for tokens in ("none", "float16", "float32"):
        encoder.keep_in(tmp_path / "cache", tokens)
        encoder.prepare(TEXTS)
    assert torch.equal(encoder.encode(TEXTS)[0].tokens, BertEncoder(encoder.source).encode(TEXTS)[0].tokens)
    with pytest.raises(ConfigError, match="not kept as 'float61'; did you mean 'float16'"):
        FeatureCache(tmp_path, "float61")


def test_older_folders_are_read(tmp_path) -> None:
    """One pair of tensors per text, named by its key."""
    want = some(0, 6)
    old = {}
    for text, (tokens, sentence) in list(want.items())[:3]:
        old |= {key_of(text).hex() + ".tokens": tokens, key_of(text).hex() + ".sentence": sentence}
    save_file(old, tmp_path / "0123456789abcdef.safetensors")
    cache = FeatureCache(tmp_path)
    assert cache.missing(list(want)) == list(want)[3:]
    cache.put(dict(list(want.items())[3:]))
    same(cache, want)
    same(FeatureCache(tmp_path), want)


def test_several_processes_fill_one_folder(tmp_path) -> None:
    """Each with overlapping texts; the index is written again and again by all of them."""
    cuts = ((0, 120), (60, 200), (150, 260))
    started = [
        subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path), str(first), str(last)], cwd=ROOT)
        for first, last in cuts
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    for _ in range(2):
        same(FeatureCache(tmp_path), some(0, 260))
    assert (tmp_path / INDEX).is_file() and not list(tmp_path.glob(".*"))


def test_the_index_is_only_a_help(tmp_path, monkeypatch) -> None:
    """Missing, damaged, stale or read-only: the files are what counts."""
    monkeypatch.setattr(module, "INDEX_AFTER", 2)
    fill(str(tmp_path), 0, 20)
    same(FeatureCache(tmp_path), some(0, 20))
    index = tmp_path / INDEX
    assert len(Index.read(index).files) == 4
    for damage in (b"", b"half of", index.read_bytes()[:-100]):
        index.write_bytes(damage)
        same(FeatureCache(tmp_path), some(0, 20))
    fill(str(tmp_path), 20, 25)
    same(FeatureCache(tmp_path), some(0, 25))
    gone = sorted(tmp_path.glob("*.safetensors"))[1]
    gone.unlink()
    cache = FeatureCache(tmp_path)
    lost = cache.missing(list(some(0, 25)))
    assert len(lost) == 5
    same(cache, {text: value for text, value in some(0, 25).items() if text not in lost})

    def refuse(*_) -> None:
        raise PermissionError

    monkeypatch.setattr(Index, "write", refuse)
    index.unlink()
    same(FeatureCache(tmp_path), {text: value for text, value in some(0, 25).items() if text not in lost})


def test_what_was_added_joins_the_index(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "RECENT", 30)
    cache = FeatureCache(tmp_path)
    for start in range(0, 100, 5):
        cache.put(some(start, start + 5))
    assert len(cache._recent) <= 30
    same(cache, some(0, 100))


def test_few_files_are_open_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "OPEN_FILES", 3)
    fill(str(tmp_path), 0, 50)
    cache = FeatureCache(tmp_path)
    same(cache, some(0, 50))
    assert len(cache._opened) == 3


def test_hashes_that_begin_alike(tmp_path) -> None:
    """Only the whole key counts."""
    keys = [b"\xff" * 8 + bytes([i]) * 8 for i in range(3)] + [b"\x00" * 16]
    index = Index.empty().with_files([("a", as_tensor(keys[:2])), ("b", as_tensor(keys[3:]))])
    index.write(tmp_path / "index")
    files, rows = Index.read(tmp_path / "index").find(as_tensor(keys))
    assert (files[0], rows[0], files[2], files[3], rows[3]) == (0, 0, -1, 1, 0)


def test_damaged_files_are_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"half of")
    with pytest.raises(CheckpointError, match="bad.safetensors: damaged cache file .*; delete it"):
        FeatureCache(tmp_path)
    (tmp_path / "bad.safetensors").unlink()
    (tmp_path / ".other-1234.new.safetensors").write_bytes(b"being written")
    monkeypatch.setattr(module, "INDEX_AFTER", 1)
    fill(str(tmp_path), 0, 5)
    FeatureCache(tmp_path)
    next(tmp_path.glob("[!.]*.safetensors")).write_bytes(b"half of")
    with pytest.raises(CheckpointError, match="damaged cache file"):
        FeatureCache(tmp_path).get(["text 1"])


def test_memory_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    cache, want = FeatureCache(), some(0, 6)
    assert cache.missing(list(want)) == list(want)[:3]
    cache.put(want)
    assert list(cache.get(list(want))) == list(want)[-3:]


def measure(folder: Path, entries: int) -> dict[str, float]:
    """Seconds and megabytes of opening a folder of so many texts and of reading 64 of them, by a process of its own."""
    cache = FeatureCache(folder)
    tokens, sentence = torch.zeros(2, 4), torch.zeros(4)
    for first in range(0, entries, module.PER_FILE):
        part = range(first, min(first + module.PER_FILE, entries))
        cache.put({f"text {number}": TextFeatures(tokens, sentence + number) for number in part})
    FeatureCache(folder)  # writes the index
    call = [sys.executable, "-m", __name__ if __name__ != "__main__" else "tests.models.test_text_cache"]
    found = subprocess.run([*call, "open", str(folder), str(entries)], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    names, values = found.stdout.split()[::2], found.stdout.split()[1::2]
    return dict(zip(names, map(float, values)))


def open_and_report(folder: Path, entries: int) -> None:
    before, start = resident(), time.perf_counter()
    cache = FeatureCache(folder)
    opened, size = time.perf_counter() - start, resident() - before
    texts = [f"text {number}" for number in range(0, entries, max(1, entries // 64))]
    start = time.perf_counter()
    found = cache.get(texts)
    read = time.perf_counter() - start
    assert [float(row.sentence[0]) for row in found.values()] == [float(text.split()[1]) for text in texts]
    print("open_s", opened, "open_MB", size, "read_64_s", read, "then_MB", resident() - before)


def resident() -> float:
    """Megabytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096 / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc")
def test_many_texts_open_fast(tmp_path) -> None:
    """A fifth of a million, with a margin of several times; opening each file would take seconds and gigabytes."""
    found = measure(tmp_path, MANY)
    assert found["open_s"] < 1 and found["then_MB"] < 200
    assert (tmp_path / INDEX).stat().st_size < 25 * MANY + 1e5


if __name__ == "__main__":
    if sys.argv[1] == "open":
        open_and_report(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as place:
            print(measure(Path(place), int(sys.argv[1])))


@pytest.mark.parametrize("files", ([], ["a"], [1, 2]), ids=str)
def test_an_index_whose_parts_do_not_fit_is_made_anew(files: list, tmp_path: Path) -> None:
    keys = torch.arange(8).reshape(4, 2)
    Index.empty().with_files([("a", keys[:2]), ("b", keys[2:])]).write(tmp_path / "index")
    assert Index.read(tmp_path / "index").files == ("a", "b")
    save_file(load_file(tmp_path / "index"), tmp_path / "index", {"files": json.dumps(files)})
    assert Index.read(tmp_path / "index").files == ()
