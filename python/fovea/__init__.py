# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls attention kernels compiled by Fovea from Python: ctypes and numpy, nothing else.

    import fovea

    library = fovea.compile_spec("attention.yaml", "out")     # runs the `fovea` driver
    kernel = fovea.load(library)                              # out/attention.so, out/attention.json
    kernel(q=q, k=k, v=v, o=o)                                # numpy arrays, any strides, no copies

A kernel's arguments, their order, types and shapes come from the JSON file that the driver writes
beside the library. The runtime checks every tensor; what it refuses is raised as fovea.Error.
"""

from fovea.binding import Argument, Call, Context, Error, Kernel, Status, load
from fovea.driver import DriverError, compile_spec, find_driver

__all__ = [
    "Argument",
    "Call",
    "Context",
    "DriverError",
    "Error",
    "Kernel",
    "Status",
    "compile_spec",
    "find_driver",
    "load",
]
