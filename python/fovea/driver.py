# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finds and runs the `fovea` driver: from a spec file to a shared library on disk.

Must not be asked to interpret a spec: everything about it, errors included, is the driver's word.
"""

import os
import shutil
import subprocess
from pathlib import Path


class DriverError(RuntimeError):
    """The driver is missing, or refused its input; the text is what it wrote to stderr."""


def find_driver(driver: str | os.PathLike[str] | None = None) -> Path:
    """The driver's path: the one given, else the environment's FOVEA, else `fovea` on PATH."""
    wanted = os.fspath(driver) if driver is not None else os.environ.get("FOVEA", "fovea")
    found = shutil.which(wanted)
    if found is None:
        raise DriverError(
            f"no fovea driver at '{wanted}': build the project, then set FOVEA to the path of its"
            " bin/fovea or put it on PATH"
        )
    return Path(found)


def compile_spec(
    spec: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    name: str | None = None,
    driver: str | os.PathLike[str] | None = None,
    options: tuple[str, ...] = (),
) -> Path:
    """Compiles a spec to DIRECTORY/NAME.so, with NAME.json beside it; returns the library's path.

    NAME is the spec's `name:` key; without it the spec's file name is taken, less its suffix.
    """
    spec_path = Path(spec)
    directory_path = Path(directory)
    directory_path.mkdir(parents=True, exist_ok=True)
    command = [
        os.fspath(find_driver(driver)),
        "compile",
        os.fspath(spec_path),
        "--emit",
        "so",
        "-o",
        os.fspath(directory_path),
        *options,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DriverError(
            f"'{' '.join(command)}' ended with status {result.returncode}\n{result.stderr.rstrip()}"
        )
    library = directory_path / f"{name or spec_path.stem}.so"
    if not library.is_file():
        raise DriverError(f"'{' '.join(command)}' ended well but there is no {library}")
    return library
