"""Text features in the published layout: read into a folder that stands for an encoder, and written out again."""

import json
from pathlib import Path

import pytest
import torch

from mld.errors import CheckpointError, DataError, RequestError
from mld.models.text_encoders.opening import open_text_encoder
from prepare.text import main
from tests.models.text_encoding import write_t5

KEY = "video_text_annot"
FIELD = f"{KEY}_wanvideot5_embed_path"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list of four entries: two with features, one whose file is missing, one without a text."""
    folder = tmp_path / "set"
    (folder / KEY).mkdir(parents=True)
    entries = [{"sample_id": str(number), KEY: f"video {number}", FIELD: f"{KEY}/{number}.pt"} for number in range(3)]
    entries.append({"sample_id": "none", KEY: None, FIELD: f"{KEY}/none.pt"})
    for number in range(2):
        torch.save(_rows(number), folder / KEY / f"{number}.pt")
    null = torch.zeros(226, 6, dtype=torch.bfloat16)
    null[0] = 0.5
    torch.save(null, folder / "null.pth")
    (folder / "list.json").write_text(json.dumps(entries))
    return folder / "list.json"


def _rows(number: int) -> torch.Tensor:
    return torch.randn(3 + number, 6, generator=torch.Generator().manual_seed(number)).bfloat16()


def _read(listed: Path, out: Path, *more: object) -> int:
    null = listed.parent / "null.pth"
    return main(["--published", str(listed), "--null", str(null), "--out", str(out), *map(str, more)])


def test_features_are_read_and_missing_ones_are_told(listed: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "features"
    assert _read(listed, out) == 1
    told = capsys.readouterr().out
    assert "features of 2 texts read" in told and "1 entries have no text" in told
    assert "1 texts have no features and will be taken for the empty text" in told
    assert f"entry 2, {KEY}: {listed.parent / KEY / '2.pt'}: missing" in told
    encoder = open_text_encoder(str(out))
    assert (encoder.family, encoder.width) == ("stored", 6)
    found = encoder.encode(["video 1", "", "video 0"])
    assert torch.equal(found[0].tokens, _rows(1).float()) and torch.equal(found[2].tokens, _rows(0).float())
    assert found[1].tokens.tolist() == [[0.5] * 6]  # the null context without its rows of zeros
    with pytest.raises(DataError, match="1 texts have no features .--complete.; the first: list.json: entry 2"):
        _read(listed, out, "--complete")


def test_a_text_without_features_is_an_error_but_for_captions_of_training(listed: Path, tmp_path: Path, capsys) -> None:
    _read(listed, tmp_path / "features")
    encoder = open_text_encoder(str(tmp_path / "features"))
    with pytest.raises(DataError, match="no features of the text 'video 2'; name the encoder that they are of"):
        encoder.encode(["video 2"])
    capsys.readouterr()
    encoder.prepare(["video 0", "video 2"])
    assert "1 of 2 captions have no features" in capsys.readouterr().out
    empty, other = encoder.encode(["", "video 2"])
    assert torch.equal(empty.tokens, other.tokens)


def test_a_model_that_was_trained_with_features_finds_them_again(listed: Path, tmp_path: Path) -> None:
    _read(listed, tmp_path / "features")
    encoder = open_text_encoder(str(tmp_path / "features"))
    again = type(encoder).restore(encoder.describe(), "model")
    assert again.identity == encoder.identity and len(again.encode(["video 0"])[0].tokens) == 3
    with pytest.raises(CheckpointError, match="other text features than the model was trained with"):
        type(encoder).restore({**encoder.describe(), "identity": "0" * 16}, "model")
    with pytest.raises(CheckpointError, match="no folder of text features"):
        type(encoder).restore({**encoder.describe(), "source": str(tmp_path)}, "model")


BAD = {
    "shape (6,)": torch.ones(6),
    "shape (2, 3, 6)": torch.ones(2, 3, 6),
    "features of 5 columns, those of the empty text have 6": torch.ones(3, 5),
    "NaN or infinity": torch.full((3, 6), float("nan")),
    "no features of a text (L, Z): dict": {"a": torch.ones(3, 6)},
    "cannot be opened as a tensor": KeyError("x"),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_file_is_one_line_and_the_rest_goes_on(listed: Path, tmp_path: Path, capsys, message: str) -> None:
    torch.save(BAD[message], listed.parent / KEY / "2.pt")
    assert _read(listed, tmp_path / "features") == 1
    told = capsys.readouterr().out
    (line,) = [line for line in told.split("\n") if "2.pt" in line]
    assert message in line and "features of 2 texts read" in told


def test_features_may_lie_where_the_list_does_not_say(listed: Path, tmp_path: Path) -> None:
    entries = [{"id": number, KEY: f"video {number}"} for number in range(2)]  # numbers as ids
    listed.write_text(json.dumps(entries))
    with pytest.raises(DataError, match="names no features of texts .*--features FOLDER"):
        _read(listed, tmp_path / "features")
    assert _read(listed, tmp_path / "features", "--features", listed.parent, "--text-keys", KEY) == 0
    assert len(open_text_encoder(str(tmp_path / "features")).encode(["video 1"])[0].tokens) == 4


def test_settings_that_do_not_fit_are_refused(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--null"):
        main(["--published", str(listed), "--out", str(tmp_path / "x")])
    with pytest.raises(RequestError, match="say which text encoder"):
        main(["--export", str(listed), "--out", str(tmp_path / "x")])
    with pytest.raises(DataError, match="no entry has the text 'video_text'; did you mean 'video_text_annot'"):
        _read(listed, tmp_path / "x", "--text-keys", "video_text")
    _read(listed, tmp_path / "features")
    with pytest.raises(DataError, match="holds other text features"):
        _read(listed, tmp_path / "features", "--tokens", "float32")


def test_what_is_written_is_read_again_and_small(listed: Path, tmp_path: Path) -> None:
    source, out = write_t5(tmp_path / "t5"), tmp_path / "out"
    before = listed.read_text()
    assert main(["--export", str(listed), "--encoder", source, "--out", str(out), "--text-keys", KEY]) == 0
    assert listed.read_text() == before
    entries = json.loads((out / "list.json").read_text())
    assert [entry[FIELD] for entry in entries[:3]] == [f"{KEY}/{number}.pt" for number in range(3)]
    encoder = open_text_encoder(source)
    for number in range(3):
        file = out / entries[number][FIELD]
        rows = torch.load(file, weights_only=True)
        wanted = encoder.encode([f"video {number}"])[0].tokens
        assert rows.dtype == torch.bfloat16 and torch.equal(rows, wanted.bfloat16()) and file.stat().st_size < 4096
    again = tmp_path / "again"
    null = out / "context_null_padded.pth"
    given = ["--published", str(out / "list.json"), "--null", str(null), "--out", str(again), "--encoder", source]
    assert main([*given, "--text-keys", KEY]) == 0
    stored = open_text_encoder(str(again))
    new, known = stored.encode(["a person walks", "video 1"])  # the first of the encoder, which says the same
    torch.testing.assert_close(new.tokens, encoder.encode(["a person walks"])[0].tokens, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(known.tokens, encoder.encode(["video 1"])[0].tokens, atol=1e-2, rtol=1e-2)
    assert not stored.unknown(["a person walks"])


def test_another_encoder_is_not_taken_for_that_of_the_features(listed: Path, tmp_path: Path) -> None:
    one, other = write_t5(tmp_path / "one"), write_t5(tmp_path / "other", seed=1)
    main(["--export", str(listed), "--encoder", one, "--out", str(tmp_path / "out"), "--text-keys", KEY])
    null = str(tmp_path / "out/context_null_padded.pth")
    main(["--published", str(tmp_path / "out/list.json"), "--null", null, "--out", str(tmp_path / "in"),
          "--encoder", other])  # fmt: skip
    with pytest.raises(CheckpointError, match="is not the one that the features in .* are of"):
        open_text_encoder(str(tmp_path / "in")).encode(["a person walks"])


def test_one_text_that_cannot_be_encoded_loses_no_other(listed: Path, tmp_path: Path, monkeypatch) -> None:
    source, out, batches = write_t5(tmp_path / "t5"), tmp_path / "out", []
    kind = type(open_text_encoder(source))
    encode = kind.encode

    def failing(self, texts, device="cpu"):
        batches.append(len(texts))
        if "video 1" in texts:
            raise DataError("no such words")
        return encode(self, texts, device)

    monkeypatch.setattr(kind, "encode", failing)
    assert main(["--export", str(listed), "--encoder", source, "--out", str(out), "--text-keys", KEY]) == 1
    assert max(batches) > 1 and sorted(file.name for file in (out / KEY).iterdir()) == ["0.pt", "2.pt"]


def test_two_texts_of_one_name_are_told_and_the_first_stays(tmp_path: Path, capsys) -> None:
    source, out, listed = write_t5(tmp_path / "t5"), tmp_path / "out", tmp_path / "list.json"
    listed.write_text(json.dumps([{"id": "a/b", KEY: "walks"}, {"id": "a_b", KEY: "jumps"}]))
    assert main(["--export", str(listed), "--encoder", source, "--out", str(out), "--text-keys", KEY]) == 1
    assert f"entry 1, {KEY}: another text of this name is in {KEY}/a_b.pt" in capsys.readouterr().out
    wanted = open_text_encoder(source).encode(["walks"])[0].tokens.bfloat16()
    assert torch.equal(torch.load(out / KEY / "a_b.pt", weights_only=True), wanted)
