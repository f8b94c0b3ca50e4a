"""Spoken requests: recordings of any rate, and a tiny untrained Whisper that really runs, opened when it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from mld.errors import CheckpointError, DataError
from mld.serve.page.speech import RATE, Listener, heard


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    time = np.arange(44_100) / 44_100
    tone = (np.sin(2 * np.pi * 440 * time) * 20_000).astype(np.int16)
    wavfile.write(tmp_path / "say.wav", 44_100, np.stack([tone, tone], axis=1))
    return tmp_path / "say.wav"


def tiny_whisper(folder: Path) -> Path:
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    words = ["<|endoftext|>", "<|startoftranscript|>", *"abcdefgh"]
    (folder / "vocab.json").write_text("{" + ", ".join(f'"{word}": {i}' for i, word in enumerate(words)) + "}")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=8).save_pretrained(folder)
    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}  # fmt: skip
    config = WhisperConfig(vocab_size=16, num_mel_bins=8, max_target_positions=12, bos_token_id=0, eos_token_id=0,
                           pad_token_id=0, decoder_start_token_id=1, begin_suppress_tokens=None, **sizes)  # fmt: skip
    torch.manual_seed(0)
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_recordings_are_brought_to_what_whisper_hears(recording: Path) -> None:
    sound = heard(recording)
    assert sound.shape == (RATE,) and sound.dtype == np.float32
    assert 0.55 < np.abs(sound).max() < 0.7
    assert np.abs(np.fft.rfft(sound)).argmax() == 440


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF, not really")
    with pytest.raises(DataError, match="not a WAV file"):
        heard(tmp_path / "a.wav")
    wavfile.write(tmp_path / "b.wav", 100, np.zeros(100 * 31, dtype=np.int16))
    with pytest.raises(DataError, match="lasts 31 s"):
        heard(tmp_path / "b.wav")


def test_a_model_of_the_users_writes_what_it_hears(recording: Path, tmp_path: Path) -> None:
    listener = Listener(tiny_whisper(tmp_path))
    assert "_parts" not in vars(listener), "opened at the first word"
    assert isinstance(listener(recording), str)
    assert "_parts" in vars(listener)


def test_a_folder_without_a_model(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(CheckpointError, match="no Whisper model there"):
        Listener(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a Whisper model"):
        Listener(tmp_path)(recording)
