# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loads one compiled kernel and calls it on numpy arrays through the C ABI.

From a shared library and the JSON description beside it to a Python callable. Arrays are described
to the kernel by DLTensor structures that point into them: nothing is copied, any strides are passed
on. Must not be asked to convert: an array of another dtype, device or byte order is refused.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class Status(enum.IntEnum):
    """What a call into the runtime answers (fovea_status)."""

    OK = 0
    INVALID_ARGUMENT = 1
    DTYPE = 2
    RANK = 3
    SHAPE = 4
    STRIDE = 5
    OVERLAP = 6
    ALIGNMENT = 7
    DEVICE = 8
    ABI_VERSION = 9
    UNSUPPORTED_ISA = 10
    OUT_OF_MEMORY = 11
    WORKSPACE_TOO_SMALL = 12
    CUDA = 13
    INTERNAL = 14


class Error(RuntimeError):
    """The runtime refused a call: `status` says what kind of refusal, the text says why."""

    def __init__(self, status: int, message: str) -> None:
        known = status in Status.__members__.values()
        self.status = Status(status) if known else status
        label = Status(status).name.lower() if known else f"status {status}"
        super().__init__(f"{label}: {message}" if message else label)


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


_CPU_DEVICE = 1  # kDLCPU

# DLPack's code of each kind of element. bf16 is an extension of numpy, made by ml_dtypes, and known
# here by its name alone.
_CODES = {"b": 6, "i": 0, "u": 1, "f": 2}  # kDLBool, kDLInt, kDLUInt, kDLFloat
_BFLOAT = 4  # kDLBfloat


@functools.cache
def _data_type(dtype: np.dtype) -> _DataType | None:
    if not dtype.isnative:
        return None
    code = _BFLOAT if dtype.name == "bfloat16" else _CODES.get(dtype.kind)
    return None if code is None else _DataType(code, 8 * dtype.itemsize, 1)


def _describe(name: str, array: np.ndarray, writes: bool) -> _Tensor:
    """The DLTensor of an array. The array must outlive it."""
    data_type = _data_type(array.dtype)
    if data_type is None:
        raise TypeError(f"argument '{name}' has dtype {array.dtype}, which kernels do not take")
    if writes and not array.flags.writeable:
        raise ValueError(f"argument '{name}' is written by the kernel, but the array is read-only")
    size = array.itemsize
    strides = [stride // size for stride in array.strides]
    if [stride * size for stride in strides] != list(array.strides):
        raise ValueError(f"argument '{name}' has strides that are no multiple of its item size")
    rank = array.ndim
    extents = (ctypes.c_int64 * (2 * rank))(*array.shape, *strides)
    shape = ctypes.addressof(extents)
    tensor = _Tensor(
        array.__array_interface__["data"][0],
        _CPU_DEVICE,
        0,
        rank,
        data_type,
        shape,
        shape + rank * ctypes.sizeof(ctypes.c_int64),
        0,
    )
    tensor.extents = extents  # addresses keep nothing alive
    return tensor


@dataclass(frozen=True)
class Argument:
    """One tensor of a kernel. Extents are numbers, or symbols that must agree among the tensors."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    role: str  # input, output or inout
    optional: bool


@dataclass(frozen=True)
class _Parameter:
    name: str
    default: int | None


class Context:
    """The threads that calls run on; made by Kernel.create_context, freed with the object."""

    def __init__(self, runtime: ctypes.CDLL, threads: int) -> None:
        self._runtime = runtime
        self.handle = ctypes.c_void_p()
        _check(runtime, runtime.fovea_context_create(threads, ctypes.byref(self.handle)))

    @property
    def threads(self) -> int:
        return self._runtime.fovea_context_threads(self.handle)

    def __del__(self) -> None:
        self._runtime.fovea_context_destroy(self.handle)


class Call:
    """A kernel with its arguments: call it as often as they are to be used.

    The arrays are described once and kept alive; what is in them is read by each call.
    """

    def __init__(
        self,
        kernel: Kernel,
        tensors: list[_Tensor | None],
        options: ctypes.Structure,
        kept: tuple[Any, ...],
    ) -> None:
        self._kernel = kernel
        self._pointers = [
            ctypes.c_void_p(None if structure is None else ctypes.addressof(structure))
            for structure in (*tensors, options)
        ]
        self._kept = (tensors, options, *kept)  # addresses keep nothing alive

    def __call__(self) -> None:
        _check(self._kernel._library, self._kernel._entry(*self._pointers))


class Kernel:
    """A compiled kernel: call it with its arguments by name.

    Tensors are numpy arrays (None leaves an optional one out), integer parameters are ints.
    `context` names the threads to run on; without it the runtime's default context is used.
    The kernel's results are in the output and inout arrays when the call returns.
    """

    def __init__(self, library: ctypes.CDLL, description: dict[str, Any]) -> None:
        self.name: str = description["name"]
        self.arguments = tuple(
            Argument(
                entry["name"],
                entry["dtype"],
                tuple(entry["shape"]),
                entry["role"],
                entry.get("optional", False),
            )
            for entry in description["arguments"]
        )
        self._parameters = tuple(
            _Parameter(entry["name"], entry.get("default"))
            for entry in description.get("parameters", [])
        )
        self._names = {argument.name for argument in self.arguments}
        self._names |= {parameter.name for parameter in self._parameters}
        self._library = library
        fields = [
            ("size", ctypes.c_size_t),
            ("context", ctypes.c_void_p),
            ("workspace", ctypes.c_void_p),
            ("workspace_size", ctypes.c_size_t),
            *((parameter.name, ctypes.c_int64) for parameter in self._parameters),
        ]
        self._options = type(f"{self.name}_options", (ctypes.Structure,), {"_fields_": fields})
        self._entry = library[self.name]
        self._entry.restype = ctypes.c_int32
        self._entry.argtypes = [ctypes.c_void_p] * (len(self.arguments) + 1)

    def create_context(self, threads: int = 0) -> Context:
        """A context with that many threads; 0 stands for the processors of this process."""
        return Context(self._library, threads)

    def __call__(
        self, *, context: Context | None = None, **values: np.ndarray | int | None
    ) -> None:
        self.bind(context=context, **values)()

    def bind(self, *, context: Context | None = None, **values: np.ndarray | int | None) -> Call:
        """The call with these arguments, to be made later, and more than once."""
        unknown = values.keys() - self._names
        if unknown:
            raise TypeError(f"{self.name} has no argument '{min(unknown)}'; it has: {self}")
        tensors = [self._tensor(argument, values) for argument in self.arguments]
        options = self._options(
            ctypes.sizeof(self._options),
            context.handle if context is not None else None,
            None,
            0,
            *(self._parameter(parameter, values) for parameter in self._parameters),
        )
        return Call(self, tensors, options, kept=(values, context))

    def __str__(self) -> str:
        tensors = (
            f"{argument.name}: {argument.dtype}[{', '.join(map(str, argument.shape))}]"
            for argument in self.arguments
        )
        return ", ".join((*tensors, *(f"{p.name}: int" for p in self._parameters)))

    def _tensor(self, argument: Argument, values: dict[str, Any]) -> _Tensor | None:
        array = values.get(argument.name)
        if array is None:
            if argument.optional:
                return None
            raise TypeError(f"{self.name} needs argument '{argument.name}'")
        if not isinstance(array, np.ndarray):
            raise TypeError(f"argument '{argument.name}' is {type(array)}, not a numpy array")
        return _describe(argument.name, array, argument.role != "input")

    def _parameter(self, parameter: _Parameter, values: dict[str, Any]) -> int:
        value = values.get(parameter.name, parameter.default)
        if value is None:
            raise TypeError(f"{self.name} needs parameter '{parameter.name}'")
        return value


def load(library: str | os.PathLike[str]) -> Kernel:
    """Loads NAME.so, described by NAME.json beside it."""
    path = Path(library).resolve()
    beside = path.with_suffix(".json")
    if not beside.exists():
        raise FileNotFoundError(
            f"no {beside}; `fovea compile --emit so` writes it beside {path.name}"
        )
    description = json.loads(beside.read_text(encoding="utf-8"))
    loaded = ctypes.CDLL(os.fspath(path))
    # The runtime is a part of the library, or a library that it needs: either way its functions
    # are found through it.
    loaded.fovea_last_error.restype = ctypes.c_char_p
    loaded.fovea_last_error.argtypes = []
    loaded.fovea_context_create.restype = ctypes.c_int32
    loaded.fovea_context_create.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p)]
    loaded.fovea_context_destroy.restype = None
    loaded.fovea_context_destroy.argtypes = [ctypes.c_void_p]
    loaded.fovea_context_threads.restype = ctypes.c_int64
    loaded.fovea_context_threads.argtypes = [ctypes.c_void_p]
    return Kernel(loaded, description)


def _check(runtime: ctypes.CDLL, status: int) -> None:
    if status != Status.OK:
        raise Error(status, runtime.fovea_last_error().decode("utf-8", "replace"))
