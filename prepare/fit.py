"""`python -m prepare.fit IN... OUT`: SMPL parameters of motions, fitted to a body model where there is one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

EPILOG = """\
examples:
  python -m prepare.fit walk.npy walk.npz
  python -m prepare.fit out/t2m/*.npy fitted --body-models ~/body_models --model smplx --mesh
  python -m prepare.fit dance.bvh dance.npz --body-models ~/body_models --pose-prior gmm_08.pkl

With the folder of your body models (or MLD_BODY_MODELS) pose, place and shape are optimised; it holds, as downloaded,
smplx/SMPLX_NEUTRAL.npz, smplh/neutral/model.npz or smpl/SMPL_NEUTRAL.npz. Without one, rotations are solved from the
joints directly and the shape is the average. Files are AMASS-like: poses, trans, betas, gender, mocap_framerate."""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some files could not be fitted."""
    options = _parse(arguments)
    from mld.errors import DataError, RequestError

    body, prior = _models(options)
    targets = _targets([Path(name) for name in options.files], Path(options.out))
    if options.mesh and body is None:
        raise RequestError("--mesh needs a body model: give its folder by --body-models")
    failed = 0
    for path, target in targets.items():
        try:
            print(f"{path} -> {target}: {_fit(path, target, options, body, prior)}")
        except DataError as error:
            failed += 1
            print(f"left out: {error}", file=sys.stderr)
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    command = parser("prepare.fit", "SMPL parameters (AMASS-like .npz) of motions in any format.", EPILOG)
    command.add_argument("files", nargs="+", metavar="IN", help="motion files")
    command.add_argument("out", metavar="OUT", help="an .npz file for one motion, a folder for several")
    command.add_argument("--body-models", metavar="DIR", help="your body models (default: $MLD_BODY_MODELS)")
    command.add_argument("--model", choices=("smpl", "smplh", "smplx"), default="smplh", help="default: smplh")
    command.add_argument("--gender", choices=("neutral", "female", "male"), default="neutral", help="default: neutral")
    command.add_argument("--pose-prior", metavar="FILE", help="Gaussians over poses (SMPLify's), .pkl or .npz")
    command.add_argument("--iterations", type=int, default=60, metavar="N", help="of the optimisation (default: 60)")
    command.add_argument("--up", choices=("z", "y"), default="z", help="vertical axis of the files (default: z)")
    command.add_argument("--mesh", action="store_true", help="also write <name>_mesh.npz: vertices (T, V, 3), faces")
    return command.parse_args(arguments)


def _models(options: argparse.Namespace):
    """The body model and the pose prior, each None where there is none."""
    from mld.errors import RequestError
    from mld.motion.rig.smpl_body import model_file
    from mld.motion.rig.smpl_fit import PosePrior
    from mld.motion.rig.smpl_model import BodyModel

    path = model_file(options.model, options.gender, options.body_models)
    if path is None and options.body_models:
        raise RequestError(f"--body-models {options.body_models}: there is no .npz file of {options.model} "
                           f"({options.gender}) in it")
    if path is None and options.pose_prior:
        raise RequestError("--pose-prior is for fitting to a body model: give its folder by --body-models")
    prior = PosePrior.load(options.pose_prior) if options.pose_prior else None
    return None if path is None else BodyModel.load(path), prior


def _targets(files: list[Path], out: Path) -> dict[Path, Path]:
    from mld.errors import RequestError

    if out.suffix.lower() == ".npz":
        if len(files) > 1:
            raise RequestError(f"{out}: one file for {len(files)} motions; name a folder")
        return {files[0]: out}
    stems = [path.stem for path in files]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise RequestError(f"two of the files are called '{twice}'; fit them into different folders")
    return {path: out / f"{path.stem}.npz" for path in files}


def _fit(path: Path, target: Path, options: argparse.Namespace, body, prior) -> str:
    """Fit one file; what was done, in words."""
    from mld.files import atomically
    from mld.motion.formats.smpl_write import to_parameters, write_parameters
    from mld.motion.motion import Motion
    from mld.motion.rig.smpl_fit import fit

    motion = Motion.load(path)
    if body is None:
        with atomically(target) as new:
            write_parameters(to_parameters(motion, options.model), new, options.up)
        return f"{motion.num_frames} frames, rotations from the joints, average shape (no body model)"
    found, error = fit(motion, body, options.model, options.gender, prior, options.iterations)
    with atomically(target) as new:
        write_parameters(found, new, options.up)
    said = f"{motion.num_frames} frames, joints {1000 * error:.1f} mm from the motion's on average"
    return f"{said}; mesh in {_mesh(found, body, target)}" if options.mesh else said


def _mesh(found, body, target: Path) -> Path:
    """Write the mesh of every frame, metres, y up."""
    import numpy as np
    import torch

    from mld.files import atomically

    path = target.with_name(f"{target.stem}_mesh.npz")
    frames = body.meshes(found.rotations, found.pelvis, torch.from_numpy(found.betas))
    vertices = np.concatenate([part.numpy() for part in frames])
    with atomically(path) as new, open(new, "wb") as file:
        np.savez(file, allow_pickle=False, vertices=vertices, faces=body.faces, fps=found.fps)
    return path


if __name__ == "__main__":
    sys.exit(run(main))
