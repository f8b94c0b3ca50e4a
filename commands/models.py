"""Which model a command works with: `--model FOLDER`, the model that a training config made (`--cfg`), or the bundled
one that is better at the task."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mld import packaged
from mld.errors import CheckpointError, MldError

WEIGHTS, SAMPLERS = ("float32", "float16", "bfloat16", "int8"), ("ddpm", "ddim", "dpm++", "euler", "heun", "ab2")
TEXT_ENCODER = ("keep", "cpu", "unload")


def add_options(command: argparse.ArgumentParser, text_encoder: str = TEXT_ENCODER[0]) -> None:
    which = command.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="DIR", help="model folder, bundled name or hub id (default: bundled)")
    which.add_argument("--cfg", metavar="FILE", help="training config, file or packaged name; its last run's model")
    command.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    add_speed_options(command, text_encoder)


def add_speed_options(command: argparse.ArgumentParser, text_encoder: str = TEXT_ENCODER[0]) -> None:
    """How answers are drawn, and what makes them faster, models smaller, and answers a little different. text_encoder:
    the usual place."""
    command.add_argument("--weights", choices=WEIGHTS, default=WEIGHTS[0], help="of linear layers; all but the first "
                         f"are rounded: less memory, and faster on a CPU (default: {WEIGHTS[0]})")  # fmt: skip
    command.add_argument("--text-encoder", choices=TEXT_ENCODER, default=text_encoder, help="of models that have one: "
                         "keep its weights beside the model, on the cpu, or unload them when the texts were read "
                         f"(default: {text_encoder})")  # fmt: skip
    command.add_argument("--sampler", choices=SAMPLERS, help="of models with a diffusion head: ddim and dpm++ need "
                         "fewer steps (default: the model's)")  # fmt: skip
    command.add_argument("--steps", metavar="N", help="denoising steps of such a model (default: the model's)")
    command.add_argument("--sampling", metavar="KEY=VALUE", nargs="+", default=[], help="how answers are drawn, as the "
                         "model's config names it: temperature=0.8 top_k=5 top_p=0.9 do_sample=false (the likeliest) "
                         "max_length=60 (tokens), ...")  # fmt: skip


def sampling(options) -> dict[str, Any]:
    """The settings of sampling that the options name. `RequestError` for one that is not KEY=VALUE."""
    import yaml

    from mld.errors import RequestError

    asked: dict[str, Any] = {"sampler": options.sampler, "num_inference_steps": options.steps}
    for setting in options.sampling:
        name, equals, value = setting.partition("=")
        try:
            asked[name] = yaml.safe_load(value) if equals and name and value else None
        except yaml.YAMLError:
            asked[name] = None
        if asked[name] is None:
            raise RequestError(f"--sampling {setting}: write KEY=VALUE, for example temperature=0.8 or do_sample=false")
    return {name: value for name, value in asked.items() if value is not None}


def run_of(options):
    """The last run of the config that `--cfg` names."""
    from mld.training.run_config import load_runs

    return load_runs(packaged.find_config(options.cfg))[-1]


def folder_of(options) -> str:
    """The model folder that the options name. `CheckpointError` says how to get one."""
    if options.model:
        return options.model
    if options.cfg:
        folder = run_of(options).folder / "model"
        if not folder.is_dir():
            advice = f"mld train --cfg {options.cfg} makes it"
            raise CheckpointError(f"{options.cfg} has no model yet ({folder}); {advice}")
        return str(folder)
    return bundled(getattr(options, "task", None))


def bundled(task: str | None = None) -> str:
    """The folder of the bundled model for a task; `CheckpointError` when the package came without it."""
    import yaml

    table = yaml.safe_load((packaged.ASSETS / "bundled.yaml").read_text(encoding="utf-8"))
    folder = packaged.ASSETS / table.get(task, table["default"])
    if not folder.is_dir():
        raise CheckpointError(f"the bundled model is missing ({folder}); name a model folder with --model")
    return str(folder)


def demos(task: str) -> Path:
    """The request file of a task that comes with the package."""
    return packaged.demos() / f"{task}.txt"


def device_of(options) -> str:
    """The device to use; `MldError` for one that torch does not have."""
    import torch

    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise MldError(f"--device {options.device} cannot be used here ({reason}); try --device cpu") from error
    if torch.device(options.device).type == "meta":
        raise MldError("--device meta has no numbers in it; try --device cpu")
    return options.device
