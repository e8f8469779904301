# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The binding against a small compiled kernel: what it passes on, and what is refused and how."""

import gc
from pathlib import Path

import numpy as np
import pytest

import fovea

SPEC = """\
name: plain
dtype: f32
heads: {query: 4, kv: 2}
head_dim: 8
inputs: {len: "i32[B]"}
mask: j < len[b]
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> fovea.Kernel:
    directory = tmp_path_factory.mktemp("plain")
    spec = directory / "plain.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    return fovea.load(fovea.compile_spec(spec, directory / "out"))


@pytest.fixture
def call() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    q = random.standard_normal((2, 3, 4, 8), np.float32)
    k, v = random.standard_normal((2, 2, 5, 2, 8), np.float32)
    return {"q": q, "k": k, "v": v, "len": np.array([5, 2], np.int32), "o": np.empty_like(q)}


def expected(call: dict[str, np.ndarray]) -> np.ndarray:
    o = np.empty(call["q"].shape)
    for row, length in enumerate(call["len"]):
        for head in range(o.shape[2]):
            k, v = (call[name][row, :length, head // 2].astype(np.float64) for name in "kv")
            weights = np.exp(call["q"][row, :, head] @ k.T / np.sqrt(o.shape[3]))
            o[row, :, head] = weights @ v / weights.sum(axis=1, keepdims=True)
    return o


def test_a_library_without_its_description_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*plain\.json; `fovea compile --emit so`"):
        fovea.load(tmp_path / "plain.so")


def test_the_description_lists_the_arguments(kernel: fovea.Kernel) -> None:
    roles = {argument.name: argument.role for argument in kernel.arguments}
    assert kernel.name == "plain"
    assert roles == {
        "q": "input",
        "k": "input",
        "v": "input",
        "len": "input",
        "o": "output",
        "lse": "output",
    }
    assert "len: i32[B]" in str(kernel)


def test_contiguous_arrays(kernel: fovea.Kernel, call: dict[str, np.ndarray]) -> None:
    kernel(**call)
    np.testing.assert_allclose(call["o"], expected(call), rtol=0, atol=1e-5)


def test_strides_are_passed_on(kernel: fovea.Kernel, call: dict[str, np.ndarray]) -> None:
    call["q"] = np.asfortranarray(call["q"])
    call["k"] = call["k"][:, ::-1]
    call["v"] = np.repeat(call["v"], 3, axis=3)[..., ::3]
    call["len"] = np.broadcast_to(np.int32(4), (2,))
    storage = np.full((2, 4, 3, 16), np.nan, np.float32)
    call["o"] = storage[..., ::2].swapaxes(1, 2)
    kernel(**call)
    np.testing.assert_allclose(call["o"], expected(call), rtol=0, atol=1e-5)
    assert np.isnan(storage[..., 1::2]).all()


def test_no_rows(kernel: fovea.Kernel, call: dict[str, np.ndarray]) -> None:
    kernel(**{name: array[:0] for name, array in call.items()})


def test_a_bound_call_reads_what_the_arrays_hold_by_then(
    kernel: fovea.Kernel, call: dict[str, np.ndarray]
) -> None:
    bound = kernel.bind(**call, context=kernel.create_context(1))
    for scale in (1, 2):
        call["q"] *= scale
        bound()
        np.testing.assert_allclose(call["o"], expected(call), rtol=1e-5, atol=1e-6)


def test_a_bound_call_keeps_what_it_needs(
    kernel: fovea.Kernel, call: dict[str, np.ndarray]
) -> None:
    o = call["o"]
    bound = kernel.bind(
        **{name: array if array is o else array.copy() for name, array in call.items()}
    )
    gc.collect()
    bound()
    np.testing.assert_allclose(o, expected(call), rtol=1e-5, atol=1e-6)


def test_contexts_give_the_same_bits(kernel: fovea.Kernel, call: dict[str, np.ndarray]) -> None:
    results = []
    for threads in (1, 2):
        context = kernel.create_context(threads)
        assert context.threads == threads
        kernel(**call, context=context)
        results.append(call["o"].tobytes())
    assert results[0] == results[1]


def test_a_context_with_negative_threads_is_refused(kernel: fovea.Kernel) -> None:
    with pytest.raises(fovea.Error, match="threads") as caught:
        kernel.create_context(-1)
    assert caught.value.status is fovea.Status.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("q", lambda x: x.astype(np.float64), fovea.Status.DTYPE),
        ("k", lambda x: x[0], fovea.Status.RANK),
        ("v", lambda x: x[:, :-1], fovea.Status.SHAPE),
        ("o", lambda x: x[..., :4], fovea.Status.SHAPE),
    ],
)
def test_what_the_runtime_refuses(
    kernel: fovea.Kernel, call: dict[str, np.ndarray], name: str, change, status: fovea.Status
) -> None:
    call[name] = change(call[name])
    with pytest.raises(fovea.Error, match=name) as caught:
        kernel(**call)
    assert caught.value.status is status


def test_overlap_is_refused(kernel: fovea.Kernel, call: dict[str, np.ndarray]) -> None:
    call["o"] = call["q"]
    with pytest.raises(fovea.Error) as caught:
        kernel(**call)
    assert caught.value.status is fovea.Status.OVERLAP


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("q", lambda x: x.astype(">f4"), TypeError),
        ("q", lambda x: x.astype(np.complex64), TypeError),
        ("q", lambda x: x.tolist(), TypeError),
        ("q", lambda x: None, TypeError),
        ("o", lambda x: np.broadcast_to(x, x.shape), ValueError),
    ],
)
def test_what_the_binding_refuses(
    kernel: fovea.Kernel, call: dict[str, np.ndarray], name: str, change, error: type[Exception]
) -> None:
    call[name] = change(call[name])
    with pytest.raises(error, match=f"'{name}'"):
        kernel(**call)


def test_strides_of_half_an_item_are_refused(
    kernel: fovea.Kernel, call: dict[str, np.ndarray]
) -> None:
    records = np.zeros(call["q"].shape, np.dtype([("x", np.float32), ("y", np.int16)]))
    call["q"] = records["x"]
    with pytest.raises(ValueError, match="'q'"):
        kernel(**call)


def test_an_unknown_argument_is_refused(kernel: fovea.Kernel, call: dict[str, np.ndarray]) -> None:
    with pytest.raises(TypeError, match="'bias'"):
        kernel(**call, bias=call["q"])


def test_a_bad_spec_is_refused_with_the_drivers_words(tmp_path: Path) -> None:
    spec = tmp_path / "bad.yaml"
    spec.write_text(SPEC.replace("plain", "bad").replace("heads", "haeds"), encoding="utf-8")
    with pytest.raises(fovea.DriverError, match=r"bad\.yaml:3:1"):
        fovea.compile_spec(spec, tmp_path / "out")


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOVEA", str(tmp_path / "fovea"))
    with pytest.raises(fovea.DriverError, match="no fovea driver"):
        fovea.find_driver()
