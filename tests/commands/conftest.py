"""A tiny untrained model folder, motion files, and a way to run the commands as users do."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.common import run
from mld.checkpoint import save_model
from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
from mld.models.families.motiongpt.model import MotionGPT
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from tests.walking import walker

ROOT = Path(__file__).resolve().parents[2]
CAPTIONS = ["a person walks forward", "a person runs", "someone jumps", "the man sits down slowly"]


def tiny_tokenizer() -> VQVAE:
    representation = get_representation("humanml3d")
    rows = representation.encode_joints(walker(120, turning=0.02)[None])[0]
    normalizer = Normalizer.fit([rows.numpy()], representation)
    config = VQVAEConfig(codebook_size=16, code_dim=16, width=16, depth=1, quantizer="ema")
    tokenizer = VQVAE(config, normalizer)
    torch.nn.init.normal_(tokenizer.quantizer.codebook)
    return tokenizer.eval()


def tiny_model() -> MotionGPT:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 16}
    config = MotionGPTConfig(lm=LanguageModelConfig(architecture=sizes, text_vocabulary=300))
    return MotionGPT.create(config, {"tokenizer": tiny_tokenizer()}, CAPTIONS)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return save_model(tiny_model(), tmp_path_factory.mktemp("models") / "tiny", {})


@pytest.fixture(scope="session")
def latent_model_folder(tmp_path_factory) -> Path:
    """A tiny untrained model whose motions are latents of whole clips."""
    from tests.models.tiny import tiny_motiongpt3

    return save_model(tiny_motiongpt3(), tmp_path_factory.mktemp("models") / "latents", {})


@pytest.fixture(scope="session")
def million_folder(tmp_path_factory) -> Path:
    """A tiny untrained MotionMillion that reads token features of the bundled text encoder."""
    from mld.models.families.motionmillion.config import MotionMillionConfig
    from mld.models.families.motionmillion.model import MotionMillion
    from mld.models.generation import GenerationSettings
    from mld.models.text_encoders.opening import open_text_encoder

    torch.manual_seed(0)
    sizes = {"layers": 2, "heads": 2, "width": 32, "positions": 96, "longest_text": 24}
    config = MotionMillionConfig(**sizes, motion_generation=GenerationSettings(max_length=50, top_k=5))
    parts = {"tokenizer": tiny_tokenizer(), "text": open_text_encoder("minilm")}
    return save_model(MotionMillion.create(config, parts, []), tmp_path_factory.mktemp("models") / "million", {})


@pytest.fixture(params=["model_folder", "latent_model_folder"])
def any_model_folder(request) -> Path:
    """A model of each family in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return save_model(tiny_tokenizer(), tmp_path_factory.mktemp("models") / "tokenizer", {})


@pytest.fixture(scope="session")
def evaluator_folder(tmp_path_factory) -> Path:
    """A tiny untrained Guo evaluator."""
    from tests.models.evaluating import tiny_guo

    return save_model(tiny_guo(), tmp_path_factory.mktemp("evaluators") / "guo", {})


@pytest.fixture(scope="session")
def motions(tmp_path_factory) -> Path:
    """A folder with walk.npy, curve.npy (joints), features.npy and broken.npy."""
    folder = tmp_path_factory.mktemp("motions")
    np.save(folder / "walk.npy", walker(60).numpy())
    np.save(folder / "curve.npy", walker(40, turning=0.02).numpy())
    np.save(folder / "features.npy", get_representation("humanml3d").encode_joints(walker(50)[None])[0].numpy())
    (folder / "broken.npy").write_bytes(b"not an array")
    return folder


@dataclass(frozen=True)
class Outcome:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the main function of a door in this process, as `run` does it: `call(main, *arguments, folder=...)`."""

    def outcome(main, *arguments: object, folder: Path = ROOT) -> Outcome:
        monkeypatch.chdir(folder)
        capsys.readouterr()
        try:
            code = run(main, list(map(str, arguments)))
        except SystemExit as left:  # argparse
            code = left.code
        return Outcome(code, *capsys.readouterr())

    return outcome


def command(*arguments: object, folder: Path = ROOT, timeout: float = 300) -> subprocess.CompletedProcess:
    """`python <arguments>` as a process of its own, in `folder`, with the repository importable."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=timeout,
    )  # fmt: skip
