# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole attention calls: the share of this machine's multiply-add rate, beside torch.

Every round times the rate of fused multiply-adds on registers, then every case once with
each implementation; what is printed are medians over the rounds, so that a clock that
drifts or a busy neighbour meets all alike. Operations are counted for attended pairs
only: 2 (D + E) for each.

    python benchmarks/attention.py --build build/release  # prints a table
    python benchmarks/attention.py --json a.json --svg a.svg --rounds 30
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))
import fovea  # noqa: E402


@dataclass(frozen=True)
class Case:
    """One shape; kv heads serve groups of query heads."""

    name: str
    queries: int
    keys: int
    width: int
    causal: bool = False
    heads: int = 32
    kv_heads: int = 8

    @property
    def spec(self) -> str:
        mask = "mask: causal(bottom_right)\n" if self.causal else ""
        heads = f"heads: {{query: {self.heads}, kv: {self.kv_heads}}}\n"
        return f"name: {self.kernel}\ndtype: f32\n{heads}head_dim: {self.width}\n{mask}"

    @property
    def kernel(self) -> str:
        return f"bench_d{self.width}_{'causal' if self.causal else 'full'}"

    @property
    def operations(self) -> int:
        pairs = self.queries * self.keys
        if self.causal:  # the last query sees all keys
            pairs -= self.queries * (self.queries - 1) // 2
        return 4 * self.heads * pairs * self.width


CASES = [
    Case("D128 1024 full", 1024, 1024, 128),
    Case("D128 1024 causal", 1024, 1024, 128, causal=True),
    Case("D64 1024 full", 1024, 1024, 64),
    Case("D64 1024 causal", 1024, 1024, 64, causal=True),
    Case("D128 decode 4096", 1, 4096, 128),
    Case("D64 decode 4096", 1, 4096, 64),
]


def import_torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def prepare(
    case: Case, threads: int, build: Path, folder: Path, torch: Any
) -> dict[str, Callable[[], None]]:
    """The implementations of a case, on the same numbers, checked against each other."""
    library = folder / f"{case.kernel}.so"
    if not library.exists():
        spec = folder / f"{case.kernel}.yaml"
        spec.write_text(case.spec)
        fovea.compile_spec(spec, folder, name=case.kernel, driver=build / "bin" / "fovea")
    kernel = fovea.load(library)
    context = kernel.create_context(threads)
    random = np.random.default_rng(1)
    q = random.standard_normal((1, case.queries, case.heads, case.width), np.float32)
    k = random.standard_normal((1, case.keys, case.kv_heads, case.width), np.float32)
    v = random.standard_normal((1, case.keys, case.kv_heads, case.width), np.float32)
    o = np.empty_like(q)

    def run() -> None:
        kernel(q=q, k=k, v=v, o=o, context=context)

    implementations = {"fovea": run}
    if torch:
        heads_first = [torch.from_numpy(x).transpose(1, 2).contiguous() for x in (q, k, v)]

        def run_torch() -> Any:
            return torch.nn.functional.scaled_dot_product_attention(
                *heads_first, is_causal=case.causal, enable_gqa=True
            )

        run()
        error = np.abs(run_torch().transpose(1, 2).numpy() - o).max()
        if error > 1e-4:
            sys.exit(f"{case.name}: torch and fovea differ by {error}")
        implementations["torch"] = run_torch
    return implementations


def measure(run: Callable[[], None], least: float) -> float:
    """Seconds of one call: the mean over calls that take `least` seconds together."""
    calls, start = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        spent = time.perf_counter() - start
        if spent >= least:
            return spent / calls


def benchmark(threads: int, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    torch = import_torch()
    if torch:
        torch.set_num_threads(threads)
    calibrate = ctypes.CDLL(str(options.build / "benchmarks" / "fovea_fma_rate.so")).fovea_fma_rate
    calibrate.restype = ctypes.c_double
    prepared = [(case, prepare(case, threads, options.build, folder, torch)) for case in CASES]
    rates: list[float] = []
    seconds: dict[tuple[str, str], list[float]] = {}
    shares: dict[tuple[str, str], list[float]] = {}
    for number in range(options.rounds):
        for case, implementations in prepared:
            for name, run in implementations.items():
                rate = calibrate(threads)
                spent = measure(run, options.least)
                rate = (rate + calibrate(threads)) / 2
                rates.append(rate)
                seconds.setdefault((case.name, name), []).append(spent)
                shares.setdefault((case.name, name), []).append(case.operations / spent / rate)
        print(
            f"\r{threads} threads: round {number + 1} of {options.rounds}", end="", file=sys.stderr
        )
    print(file=sys.stderr)
    return [
        {
            "case": case.name,
            "threads": threads,
            "implementation": name,
            "milliseconds": 1e3 * statistics.median(seconds[case.name, name]),
            "share": statistics.median(shares[case.name, name]),
            "rate_gflops": statistics.median(rates) / 1e9,
        }
        for case, implementations in prepared
        for name in implementations
    ]


def print_table(results: list[dict[str, Any]]) -> None:
    for threads in sorted({result["threads"] for result in results}):
        chosen = [result for result in results if result["threads"] == threads]
        names = list(dict.fromkeys(result["implementation"] for result in chosen))
        rate = chosen[0]["rate_gflops"]
        print(f"\nf32, B1 H32/8, {threads} thread(s); the rate is {rate:.0f} GFLOP/s\n")
        print("| case | " + " | ".join(f"{name} ms | {name} share" for name in names) + " |")
        print("|---" * (2 * len(names) + 1) + "|")
        for case in dict.fromkeys(result["case"] for result in chosen):
            cells = [case]
            for result in chosen:
                if result["case"] == case:
                    cells += [f"{result['milliseconds']:.2f}", f"{100 * result['share']:.0f} %"]
            print("| " + " | ".join(cells) + " |")


def draw(results: list[dict[str, Any]], path: str) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    threads = sorted({result["threads"] for result in results})
    figure, axes = plt.subplots(1, len(threads), figsize=(6 * len(threads), 4), sharey=True)
    for axis, count in zip(np.atleast_1d(axes), threads, strict=True):
        chosen = [result for result in results if result["threads"] == count]
        cases = list(dict.fromkeys(result["case"] for result in chosen))
        names = list(dict.fromkeys(result["implementation"] for result in chosen))
        for offset, name in enumerate(names):
            heights = [100 * r["share"] for r in chosen if r["implementation"] == name]
            places = np.arange(len(cases)) + 0.4 * (offset - (len(names) - 1) / 2)
            axis.bar(places, heights, 0.38, label=name)
        axis.set_xticks(np.arange(len(cases)), cases, rotation=30, ha="right")
        axis.set_title(f"{count} thread(s)")
        axis.set_ylabel("% of the multiply-add rate")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "release", help="the build folder"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--least", type=float, default=0.05, help="seconds of one measurement")
    parser.add_argument("--json", help="write the results there")
    parser.add_argument("--svg", help="draw the results there (needs matplotlib)")
    options = parser.parse_args()
    os.environ.pop("FOVEA_ISA", None)
    with tempfile.TemporaryDirectory() as folder:
        results = [
            result
            for threads in options.threads
            for result in benchmark(threads, options, Path(folder))
        ]
    print_table(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    if options.svg:
        draw(results, options.svg)


if __name__ == "__main__":
    main()
