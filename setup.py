"""Lays `configs/` and `demos/`, which stand at the top of the repository for those who edit them, into the wheel.

Everything else is said in pyproject.toml. `mld/packaged.py` finds the folders in both places.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

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


setup(cmdclass={"build_py": BuildWithFolders})
