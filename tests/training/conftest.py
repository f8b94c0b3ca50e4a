"""A small dataset of walks with captions, and configs of networks so small that a step takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.walking import walker

WAYS = {"straight": 0.0, "to the left": 0.02, "to the right": -0.02}

COMMON = """
seed: 7
output: {output}
data: {{source: joints, root: {root}, batch_size: 4, window: 32, min_frames: 20}}
training:
  max_steps: 6
  accelerator: cpu
  num_threads: 1
  log_every_steps: 1
  validate_every_steps: 2
  checkpoint_every_steps: 2
  samples: 1
  max_validation_clips: 2
"""
TOKENIZER = """
extends: common.yaml
stage: tokenizer
name: tokenizer
normalizer: {feature_bias: 5}
tokenizer: {family: vqvae, codebook_size: 16, code_dim: 8, width: 16, depth: 1}
"""
VAE = """
extends: common.yaml
stage: tokenizer
name: vae
data: {window: null}
normalizer: {feature_bias: 5}
tokenizer: {family: vae, latent_channels: 8, ff_size: 16, num_layers: 3, num_heads: 2, max_positions: 204}
"""
GENERATOR = """
extends: common.yaml
stage: pretrain
name: pretrain
data: {instructions: pretrain}
model:
  family: motiongpt
  lm: {text_vocabulary: 300, architecture: {d_model: 16, d_kv: 8, d_ff: 16, num_layers: 1, num_heads: 2}}
  motion_generation: {max_length: 12}
  text_generation: {max_length: 6}
"""
INSTRUCT = """
extends: pretrain.yaml
stage: instruct
name: instruct
data: {instructions: instruct}
"""


LATENTS = """
extends: common.yaml
stage: pretrain
name: latents
data: {instructions: instruct}
model:
  family: motiongpt3
  lm: {text_vocabulary: 300, max_length: 96, architecture: {n_embd: 16, n_layer: 2, n_head: 2, n_positions: 96}}
  head: {width: 16, depth: 1, num_pooling_heads: 2, num_inference_steps: "4"}
  frozen: [text]
  length_head: true
  text_generation: {do_sample: false, max_length: 6}
training: {optimizer: {params: {lr: 1.0e-3, weight_decay: 0.1}, groups: {head: {lr: 3.0e-3}}}}
"""

LATENTS_ON = """
extends: latents.yaml
stage: instruct
name: latents_on
init_from: ${output}/latents/model
"""
TMR = """
extends: common.yaml
stage: evaluator
name: tmr
data: {{window: null}}
normalizer: {{per_column: true}}
evaluator: {{family: tmr, text_encoder: {words}, latent_dim: 16, ff_size: 16, num_layers: 1, num_heads: 2}}
text_cache: {cache}
training: {{ema: 0.9}}
"""
GUO_MOVEMENT = """
extends: common.yaml
stage: evaluator
name: movement
normalizer: {feature_bias: 5}
evaluator: {family: guo, stage: movement, movement_hidden: 12, movement_latent: 10, motion_hidden: 8, text_hidden: 6,
            embedding_dim: 8, word_dim: 6, tagger: rules}
"""
GUO = """
extends: movement.yaml
name: guo
init_from: ${output}/movement/model
data: {window: null}
evaluator: {stage: matching, embedding_dim: 14}
"""
MILLION = """
extends: common.yaml
stage: pretrain
name: million
data: {instructions: stream, tasks: {Text-to-Motion: 1.0}, quote_probability: 0.0}
text_encoder: {source: minilm}
model: {family: motionmillion, layers: 2, heads: 2, width: 32, positions: 64, longest_text: 16,
        motion_generation: {max_length: 40}}
training: {samples: 0, ema: 0.9, gradient_clip: 0.5, optimizer: {params: {lr: 1.0e-3}}, scheduler: {name: constant}}
"""
FLOW = """
extends: common.yaml
stage: pretrain
name: flow
data: {representation: motion276, instructions: flow, unit_length: 1, quote_probability: 0.0,
       tasks: {Text-to-Motion: 0.6, Motion-to-Motion: 0.4}}
normalizer: {per_column: true}
tokenizer: {family: frames, representation: motion276}
text_encoder: {source: minilm}
model: {family: vimogen, size: tiny, layers: 2, heads: 2, width: 16, ffn: 24, reference_layers: 1, time_waves: 8,
        text_rows: 12, num_inference_steps: "2"}
training: {ema: 0.9, gradient_clip: 0.5, optimizer: {params: {lr: 1.0e-3}}}
"""
LISTS = {
    "all": "stages: [tokenizer.yaml, pretrain.yaml, instruct.yaml]",
    "latents_all": "stages: [vae.yaml, latents.yaml, latents_on.yaml]",
    "both": "stages: [movement.yaml, guo.yaml]",
}


def write_dataset(folder: Path, growing: int = 2) -> Path:
    """18 train and 4 val walks in the joints + captions layout, each so many frames longer than the one before."""
    folder.mkdir()
    (folder / "splits").mkdir()
    trials, lines, ids = {}, [], []
    for i in range(22):
        way, turning = list(WAYS.items())[i % 3]
        trials[f"t{i}"] = walker(36 + growing * i, turning=turning, phase=0.3 * i).numpy().astype(np.float32)
        ids.append(f"c{i}")
        clip = {"id": f"c{i}", "trial": f"t{i}", "start": 0, "end": 36 + growing * i}
        clip["captions"] = [f"a person walks {way}"]
        lines.append(json.dumps(clip | {"quality": "good", "label": way}))
    np.savez(folder / "trials.npz", **trials)
    (folder / "clips.jsonl").write_text("\n".join(lines))
    for split, part in {"train": ids[:18], "val": ids[18:], "test": ids[18:]}.items():
        (folder / "splits" / f"{split}.txt").write_text("\n".join(part))
    return folder


def write_configs(folder: Path, root: Path) -> Path:
    """A file per stage, and those of `LISTS` for several in order, writing runs into `folder/runs`."""
    folder.mkdir(exist_ok=True)
    (folder / "common.yaml").write_text(COMMON.format(output=folder / "runs", root=root))
    texts = {"tokenizer": TOKENIZER, "vae": VAE, "latents": LATENTS, "pretrain": GENERATOR, "instruct": INSTRUCT}
    texts |= {"latents_on": LATENTS_ON, "movement": GUO_MOVEMENT, "guo": GUO, "million": MILLION,
              "flow": FLOW}
    texts |= LISTS
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def write_tmr(configs: Path, words: str, cache: Path) -> Path:
    """`tmr.yaml` beside the other stages. words: folder of its text encoder."""
    file = configs / "tmr.yaml"
    file.write_text(TMR.format(words=words, cache=cache))
    return file


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("walks") / "data")


@pytest.fixture
def configs(tmp_path, dataset) -> Path:
    return write_configs(tmp_path / "configs", dataset)
