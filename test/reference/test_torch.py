# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""The reference interpreter against torch in f64.

Needs torch (without it, the tests are skipped) and the program fovea-interpret of the build, whose
path FOVEA_INTERPRET holds: `FOVEA_INTERPRET=build/bin/fovea-interpret pytest test/reference`.
"""

import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
sdpa = torch.nn.functional.scaled_dot_product_attention

TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture
def interpret(tmp_path):
    program = os.environ.get("FOVEA_INTERPRET")
    if not program or not Path(program).exists():
        pytest.skip("FOVEA_INTERPRET does not name the program fovea-interpret")

    def run(spec: str, arguments: list, shapes: list[tuple]) -> list[np.ndarray]:
        """Results and sum p|v|; `arguments` in the kernel's order: array, integer or bare shape."""
        path = tmp_path / "spec.yaml"
        path.write_text("name: f\ndtype: f64\n" + spec)
        words = []
        for number, argument in enumerate(arguments):
            if isinstance(argument, int):
                words.append(str(argument))
                continue
            shape = "x".join(map(str, argument if isinstance(argument, tuple) else argument.shape))
            file = ""
            if not isinstance(argument, tuple):
                file = str(tmp_path / f"in{number}")
                np.ascontiguousarray(argument, np.float64).tofile(file)
            words.append(f"{shape}={file}")
        prefix = tmp_path / "out"
        subprocess.run([program, path, prefix, *words], check=True, timeout=60)
        names = [f"{prefix}.{number}" for number in range(len(shapes))] + [f"{prefix}.abs"]
        return [
            np.fromfile(name).reshape(shape)
            for name, shape in zip(names, [*shapes, shapes[0]], strict=True)
        ]

    return run


def draw(seed: int, b=2, m=7, n=9, hq=4, hkv=2, d=5, e=3):
    rng = np.random.default_rng(seed)
    shapes = [(b, m, hq, d), (b, n, hkv, d), (b, n, hkv, e)]
    return [rng.standard_normal(shape) for shape in shapes]


def heads_first(x: np.ndarray):
    return torch.from_numpy(np.ascontiguousarray(x.swapaxes(1, 2)))


def attend(interpret, q, k, v, keys: str, inputs=(), params=()):
    """O and LSE of the spec with these keys; the default sizes come from the arrays."""
    (b, m, hq, d), (hkv, e) = q.shape, v.shape[2:]
    spec = f"heads: {{query: {hq}, kv: {hkv}}}\nhead_dim: {{qk: {d}, v: {e}}}\n{keys}\n"
    shapes = [(b, m, hq, e), (b, hq, m)]
    return interpret(spec, [q, k, v, *inputs, *shapes, *params], shapes)


def reference(q, k, v, scale=None, score=None, mask=None, sinks=None):
    """O, LSE and sum p|v| as plain tensor expressions."""
    q, k, v = (heads_first(x) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, dim=1) for x in (k, v))
    s = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if score is not None:
        s = score(s)
    if mask is not None:
        s = s.masked_fill(~mask, -math.inf)
    if sinks is not None:
        column = torch.from_numpy(sinks)[None, :, None, None].expand(*s.shape[:3], 1)
        s = torch.cat([s, column], dim=-1)
    lse = torch.logsumexp(s, dim=-1)
    p = torch.nan_to_num(torch.exp(s - lse[..., None]))[..., : k.shape[2]]
    return (p @ v).swapaxes(1, 2).numpy(), lse.numpy(), (p @ v.abs()).swapaxes(1, 2).numpy()


def check(results, expected):
    for ours, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **TOLERANCE)


def grid(m, n):
    return torch.arange(m)[:, None], torch.arange(n)[None, :]


@pytest.mark.parametrize("hq, hkv", [(4, 4), (4, 2), (6, 1), (9, 3)])
def test_grouped_heads_as_sdpa(interpret, hq, hkv):
    q, k, v = draw(1, hq=hq, hkv=hkv)
    results = attend(interpret, q, k, v, "")
    expected = sdpa(*(heads_first(x) for x in (q, k, v)), enable_gqa=True)
    np.testing.assert_allclose(results[0], expected.swapaxes(1, 2).numpy(), **TOLERANCE)
    check(results, reference(q, k, v))


@pytest.mark.parametrize("m, n", [(1, 1), (1, 9), (7, 7), (4, 9), (9, 4)])
def test_causal_alignments_as_sdpa(interpret, m, n):
    q, k, v = draw(2, m=m, n=n)
    i, j = grid(m, n)
    tensors = [heads_first(x) for x in (q, k, v)]
    top_left = attend(interpret, q, k, v, "mask: causal(top_left)")
    expected = sdpa(*tensors, is_causal=True, enable_gqa=True)
    np.testing.assert_allclose(top_left[0], expected.swapaxes(1, 2).numpy(), **TOLERANCE)
    check(top_left, reference(q, k, v, mask=j <= i))
    # torch has no bottom-right; rows without a key are 0 and -inf (M2).
    results = attend(interpret, q, k, v, "mask: causal(bottom_right)")
    check(results, reference(q, k, v, mask=j <= i + n - m))


def test_mask_tensor_as_sdpa(interpret):
    q, k, v = draw(3)
    i, j = grid(7, 9)
    mask = (j <= i + 3) & (j >= i - 2) & ((i + j) % 3 != 0)
    results = attend(
        interpret, q, k, v, "scale: 0.3\nmask: j <= i + 3 and j >= i - 2 and (i + j) % 3 != 0"
    )
    expected = sdpa(
        *(heads_first(x) for x in (q, k, v)), attn_mask=mask, scale=0.3, enable_gqa=True
    )
    np.testing.assert_allclose(results[0], expected.swapaxes(1, 2).numpy(), **TOLERANCE)
    check(results, reference(q, k, v, scale=0.3, mask=mask))


def test_lengths_with_poisoned_padding(interpret):
    q, k, v = draw(4)
    lengths = np.array([5, 0])
    expected_k, expected_v = k.copy(), v.copy()
    for row, length in enumerate(lengths):
        k[row, length:] = np.nan
        v[row, length:] = np.nan
        expected_k[row, length:] = 0
        expected_v[row, length:] = 0
    results = attend(
        interpret, q, k, v, "inputs: {len: i32[B]}\nmask: j < len[b]", inputs=[lengths]
    )
    mask = torch.arange(9)[None, None, None, :] < torch.from_numpy(lengths)[:, None, None, None]
    check(results, reference(q, expected_k, expected_v, mask=mask))


def test_softcap_comes_before_the_mask(interpret):
    q, k, v = draw(5)
    i, j = grid(7, 9)
    keys = "score: 2 * tanh(s / 2)\nmask: causal(top_left) and window(left, 0)\nparams: {left: 7}"
    results = attend(interpret, q, k, v, keys, params=[3])
    mask = (j <= i) & (j >= i - 3)
    check(results, reference(q, k, v, score=lambda s: 2 * torch.tanh(s / 2), mask=mask))


def test_alibi_as_an_additive_mask(interpret):
    q, k, v = draw(6)
    i, j = grid(7, 9)
    slopes = 2.0 ** -np.arange(1, 5)
    bias = torch.from_numpy(slopes)[:, None, None] * (j - i)
    keys = "inputs: {slope: f32[H]}\nscore: s + slope[h] * (j - i)"
    results = attend(interpret, q, k, v, keys, inputs=[slopes])
    expected = sdpa(*(heads_first(x) for x in (q, k, v)), attn_mask=bias, enable_gqa=True)
    np.testing.assert_allclose(results[0], expected.swapaxes(1, 2).numpy(), **TOLERANCE)
    check(results, reference(q, k, v, score=lambda s: s + bias))


def test_sinks_join_the_denominator(interpret):
    q, k, v = draw(7)
    i, j = grid(7, 9)
    sinks = np.array([-1.0, 0.0, 2.0, -math.inf])
    results = attend(
        interpret, q, k, v, "sinks: true\nmask: causal(top_left) and j > 0", inputs=[sinks]
    )
    check(results, reference(q, k, v, mask=(j <= i) & (j > 0), sinks=sinks))


def frequencies(rotary, base):
    return base ** -(torch.arange(0, rotary, 2, dtype=torch.float64) / rotary)


def rotate(x, positions, inverse, interleaved=False):
    """The published formulation: x cos + rotate_half(x) sin."""
    x = torch.from_numpy(x)
    rotary = 2 * len(inverse)
    angles = torch.as_tensor(positions, dtype=torch.float64)[:, None] * inverse
    turned, rest = x[..., :rotary], x[..., rotary:]
    if interleaved:
        angles = angles.repeat_interleave(2, dim=-1)
        half = torch.stack([-turned[..., 1::2], turned[..., 0::2]], dim=-1).flatten(-2)
    else:
        angles = torch.cat([angles, angles], dim=-1)
        half = torch.cat([-turned[..., rotary // 2 :], turned[..., : rotary // 2]], dim=-1)
    angles = angles[None, :, None, :]
    turned = turned * angles.cos() + half * angles.sin()
    return torch.cat([turned, rest], dim=-1).numpy()


@pytest.mark.parametrize("style", ["neox", "interleaved"])
def test_norm_and_rope(interpret, style):
    q, k, v = draw(8, d=10)
    i, j = grid(7, 9)
    rng = np.random.default_rng(9)
    weights = [rng.standard_normal(10) for _ in range(2)]
    keys = (
        f"qk_norm: {{eps: 1e-3}}\nrope: {{style: {style}, base: 100, rotary_dim: 6}}\n"
        "mask: causal(bottom_right)"
    )
    results = attend(interpret, q, k, v, keys, inputs=weights)
    normed = [
        torch.nn.functional.rms_norm(
            torch.from_numpy(x), (10,), torch.from_numpy(weight), eps=1e-3
        ).numpy()
        for x, weight in zip((q, k), weights, strict=True)
    ]
    inverse = frequencies(6, 100.0)
    turned_q = rotate(normed[0], torch.arange(7) + 2, inverse, style == "interleaved")
    turned_k = rotate(normed[1], torch.arange(9), inverse, style == "interleaved")
    check(results, reference(turned_q, turned_k, v, mask=j <= i + 2))


def test_yarn_without_truncation(interpret):
    """As OpenAI's published code for gpt-oss computes it."""
    q, k, v = draw(10, d=64)
    base, factor, length = 150000.0, 32.0, 4096
    half = 32
    low = half * math.log(length / (32.0 * 2 * math.pi)) / math.log(base)
    high = half * math.log(length / (1.0 * 2 * math.pi)) / math.log(base)
    assert 0 < low < high < half - 1 and low % 1 > 0.05 and high % 1 < 0.95
    ramp = (torch.arange(half, dtype=torch.float64) - low) / (high - low)
    kept = 1 - ramp.clamp(0, 1)
    plain = frequencies(64, base)
    inverse = plain / factor * (1 - kept) + plain * kept
    concentration = 0.1 * math.log(factor) + 1.0
    keys = (
        f"rope: {{style: neox, base: {base}, scaling: {{type: yarn, factor: {factor}, "
        f"original_length: {length}, beta_fast: 32, beta_slow: 1, truncate: false}}}}"
    )
    results = attend(interpret, q, k, v, keys)
    turned = (rotate(x, torch.arange(x.shape[1]), inverse) * concentration for x in (q, k))
    check(results, reference(*turned, v))


def test_dynamic_scaling_with_a_cache(interpret):
    """Keys keep the angles of the call that wrote them; each batch row has its own length."""
    rng = np.random.default_rng(11)
    heads, width, capacity, base, factor, original = 2, 6, 12, 100.0, 2.0, 4
    keys = (
        f"heads: {heads}\nhead_dim: {width}\nkv_cache: {{}}\nmask: causal(bottom_right)\n"
        f"rope: {{style: neox, base: {base}, scaling: {{type: dynamic, factor: {factor}, "
        f"original_length: {original}}}}}"
    )
    cache = [rng.standard_normal((2, capacity, heads, width)) for _ in range(2)]
    for rows, past in ((3, [0, 2]), (2, [3, 5]), (1, [5, 7])):
        q, k, v = (rng.standard_normal((2, rows, heads, width)) for _ in range(3))
        shapes = [q.shape, (2, heads, rows), cache[0].shape, cache[1].shape]
        arguments = [q, k, v, np.array(past), *shapes[:2], *cache]
        o, lse, *written, sums = interpret(keys, arguments, shapes)
        for b in range(2):
            length = past[b] + rows
            ratio = factor * max(length, original) / original - (factor - 1)
            inverse = frequencies(width, base * ratio ** (width / (width - 2)))
            row, positions = slice(b, b + 1), past[b] + torch.arange(rows)
            cache[0][row, past[b] : length] = rotate(k[row], positions, inverse)
            cache[1][row, past[b] : length] = v[row]
            i, j = grid(rows, length)
            expected = reference(
                rotate(q[row], positions, inverse),
                *(x[row, :length] for x in cache),
                mask=j <= i + past[b],
            )
            check((o[row], lse[row], sums[row]), expected)
        check(written, cache)
