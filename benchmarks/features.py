# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a feature costs: causal attention with one more thing in the kernel, beside plain.

Every round takes each variant once; its overhead is the median over the rounds of its time over
the plain one's in the same round.

    python benchmarks/features.py --build build/release
    python benchmarks/features.py --size 512 --dtype f32 --threads 1 --rounds 30
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from attention import DTYPES, ROOT, TORCH_CAPABILITY, compile_kernel, measure


@dataclass(frozen=True)
class Feature:
    name: str
    spec: str = ""  # keys that are added to the plain spec
    mask: str = "causal(bottom_right)"
    inputs: tuple[str, ...] = field(default=())


PLAIN = Feature("plain")
FEATURES = [
    Feature("LSE", inputs=("lse",)),
    Feature("RoPE", "rope: {style: neox, base: 500000}\n"),
    Feature("qk-norm", "qk_norm: {eps: 1e-6}\n", inputs=("q_norm_weight", "k_norm_weight")),
    Feature(
        "RoPE and qk-norm",
        "rope: {style: neox, base: 500000}\nqk_norm: {eps: 1e-6}\n",
        inputs=("q_norm_weight", "k_norm_weight"),
    ),
    Feature(
        "lengths",
        "inputs: {len: 'i32[B]'}\n",
        "causal(bottom_right) and j < len[b]",
        inputs=("len",),
    ),
    Feature("sinks", "sinks: true\n", inputs=("sinks",)),
    Feature("softcap", "score: 50 * tanh(s / 50)\n"),
    Feature(
        "ALiBi",
        "inputs: {slope: 'f32[H]'}\nscore: s + slope[h] * (j - i)\n",
        inputs=("slope",),
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "release", help="the build folder"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=2048, help="queries, and keys")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--isa", choices=TORCH_CAPABILITY, help="else the machine's best")
    parser.add_argument("--least", type=float, default=0.05, help="seconds of one measurement")
    parser.add_argument("--json", help="write the results there")
    options = parser.parse_args()
    os.environ.pop("FOVEA_ISA", None)
    if options.isa:
        os.environ["FOVEA_ISA"] = options.isa

    random = np.random.default_rng(1)
    heads, kv_heads, width = 32, 8, 128

    def draw(count: int) -> np.ndarray:
        shape = (1, options.size, count, width)
        return random.standard_normal(shape, np.float32).astype(DTYPES[options.dtype])

    q, k, v = draw(heads), draw(kv_heads), draw(kv_heads)
    o = np.empty_like(q)
    optional = {
        "lse": np.empty((1, heads, options.size), np.float32),
        "len": np.array([options.size], np.int32),
        "q_norm_weight": np.ones(width, np.float32),
        "k_norm_weight": np.ones(width, np.float32),
        "sinks": np.zeros(heads, np.float32),
        "slope": np.exp2(-8 * np.arange(1, heads + 1, dtype=np.float32) / heads),
    }
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, feature in enumerate([PLAIN, *FEATURES]):
            spec = (
                f"name: feature_{number}\ndtype: {options.dtype}\nhead_dim: {width}\n"
                f"heads: {{query: {heads}, kv: {kv_heads}}}\nmask: {feature.mask}\n{feature.spec}"
            )
            kernel = compile_kernel(f"feature_{number}", spec, Path(folder), options.build)
            inputs = {name: optional[name] for name in feature.inputs}
            context = kernel.create_context(options.threads)
            calls[feature.name] = kernel.bind(q=q, k=k, v=v, o=o, context=context, **inputs)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for name, call in calls.items():
            seconds[name].append(measure(call, options.least))

    plain = seconds.pop(PLAIN.name)
    results = [
        {
            "feature": name,
            "milliseconds": 1e3 * statistics.median(spent),
            "overhead": statistics.median(
                one / base for one, base in zip(spent, plain, strict=True)
            )
            - 1,
        }
        for name, spent in seconds.items()
    ]
    print(
        f"\n{options.dtype} H{heads}/{kv_heads} D{width} {options.size}x{options.size} causal, "
        f"{options.threads} thread(s), plain {1e3 * statistics.median(plain):.1f} ms\n"
    )
    print("| feature | ms | overhead |\n|---|---|---|")
    for result in results:
        cells = f"{result['milliseconds']:.1f} | {100 * result['overhead']:+.1f} %"
        print(f"| {result['feature']} | {cells} |")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
