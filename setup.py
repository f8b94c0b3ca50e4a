"""Lays `configs/` and `demos/`, which stand at the top of the repository for those who edit them, into the wheel.

Everything else is said in pyproject.toml. `mld/packaged.py` finds the folders in both places.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).parent
FOLDERS = ("configs", "demos")


class BuildWithFolders(build_py):
    """`build_py`, and the folders as parts of the package; an editable install reads them where they stand."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in FOLDERS:
                target = Path(self.build_lib) / "mld" / folder
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(HERE / folder, target)


class EditableByPath(editable_wheel):
    """`editable_wheel` that puts the clone on the path. Its default, a hook that is asked last, would leave
    `import mld` in the folder above a clone called `mld` to an empty namespace package, the clone itself."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.mode = "compat"


setup(cmdclass={"build_py": BuildWithFolders, "editable_wheel": EditableByPath})
