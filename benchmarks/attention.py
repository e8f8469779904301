# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole attention calls: the share of what this machine can do, beside torch.

Every round takes each case once with each implementation, and the machine's own rates around
it: of fused multiply-adds on registers, for bf16 on AMX of tile products (of zeros, and of random
numbers, which take more power), or, for a decode, of reading memory. What is printed are medians
over the rounds, so that a clock that drifts or a busy neighbour meets all alike.
Operations are counted for attended pairs only, 2 (D + E) for each; bytes are those of K and V,
which a decode reads from caches that take turns, so that none is in a cache of the processor.
Peers are torch's scaled_dot_product_attention and its compiled flex_attention, whose first call
of a shape compiles for half a minute.

    python benchmarks/attention.py --build build/release  # prints a table
    python benchmarks/attention.py --only decode --json a.json --svg a.svg --rounds 30
    python benchmarks/attention.py --isa x86-64-v3        # all of them kept to AVX2
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))
import fovea  # noqa: E402

DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


@dataclass(frozen=True)
class Case:
    """One shape; kv heads serve groups of query heads. Layouts are [B, S, H, D] (bshd) and
    [B, H, S, D] (bhsd)."""

    queries: int
    keys: int
    width: int = 128
    causal: bool = False
    dtype: str = "f32"
    heads: int = 32
    kv_heads: int = 8
    batch: int = 1
    layout: str = "bshd"
    rotates: bool = True  # a decode reads from memory, not from the processor's caches

    @property
    def is_decode(self) -> bool:
        return self.queries == 1 and self.rotates

    @property
    def name(self) -> str:
        kind = "causal" if self.causal else "full"
        if self.is_decode:
            kind = f"decode B{self.batch} {self.layout}"
        heads = f"H{self.heads}/{self.kv_heads}"
        size = f"{self.keys}" if self.is_decode else f"{self.queries}x{self.keys}"
        return f"{self.dtype} {heads} D{self.width} {size} {kind}"

    @property
    def spec(self) -> str:
        mask = "mask: causal(bottom_right)\n" if self.causal else ""
        heads = f"heads: {{query: {self.heads}, kv: {self.kv_heads}}}\n"
        return f"name: {self.kernel}\ndtype: {self.dtype}\n{heads}head_dim: {self.width}\n{mask}"

    @property
    def kernel(self) -> str:
        heads = f"{self.heads}_{self.kv_heads}_{self.width}"
        return f"bench_{self.dtype}_{heads}_{'causal' if self.causal else 'full'}"

    @property
    def work(self) -> float:
        """Operations, or bytes of a decode."""
        if self.is_decode:
            element = np.dtype(DTYPES[self.dtype]).itemsize
            return 2 * self.batch * self.keys * self.kv_heads * self.width * element
        pairs = self.queries * self.keys
        if self.causal:  # the last query sees all keys
            pairs -= self.queries * (self.queries - 1) // 2
        return 4 * self.batch * self.heads * pairs * self.width

    def draw(self, random: np.random.Generator, length: int, heads: int) -> np.ndarray:
        """A tensor [B, S, H, D], in memory as the layout says."""
        shape = (self.batch, length, heads, self.width)
        if self.layout == "bhsd":
            shape = (self.batch, heads, length, self.width)
        tensor = random.standard_normal(shape, np.float32).astype(DTYPES[self.dtype])
        return tensor.transpose(0, 2, 1, 3) if self.layout == "bhsd" else tensor


CASES = [
    *(Case(1024, 1024, width, causal) for width in (128, 64) for causal in (False, True)),
    *(
        Case(size, size, 128, causal, "bf16")
        for size in (512, 1024, 2048, 4096)
        for causal in (False, True)
    ),
    *(Case(2048, 2048, 64, causal, "bf16", 16, 16) for causal in (False, True)),
    *(Case(2048, 2048, 128, causal, "f16") for causal in (False, True)),
    *(
        Case(1, 4096, dtype=dtype, batch=batch, layout=layout)
        for dtype, batch in (("f32", 1), ("bf16", 1), ("bf16", 8))
        for layout in ("bshd", "bhsd")
    ),
    Case(1, 4096, dtype="bf16", kv_heads=32),
    *(Case(1, keys, dtype="bf16", rotates=False) for keys in (16, 64, 128, 512)),
    *(Case(size, size, causal=True, dtype="bf16") for size in (16, 64, 128)),
]

# What the caches of a decode take together, and what of them one calibration reads.
CACHE_BYTES = 2 << 30
READ_BYTES = 256 << 20


# What of torch stands for an instruction set.
TORCH_CAPABILITY = {"x86-64-v3": "avx2", "avx512": "avx512"}

Rate = Callable[[], float]
Result = dict[str, Any]


class Machine:
    """What this machine does in a second, if kept to an instruction set or none."""

    def __init__(self, build: Path, isa: str | None) -> None:
        self.library = ctypes.CDLL(str(build / "benchmarks" / "fovea_machine_rate.so"))
        for function in ("fma", "tile", "read"):
            getattr(self.library, f"fovea_{function}_rate").restype = ctypes.c_double
        self.isa = isa
        has_wide = isa != "x86-64-v3" and self.library.fovea_fma_rate(1, 16) > 0
        self.lanes = 16 if has_wide else 8
        self.has_tiles = isa is None and self.library.fovea_tile_rate(1, 0) > 0

    def arithmetic(self, case: Case, threads: int) -> dict[str, Rate]:
        """Operations; what shares are of comes first."""
        rates: dict[str, Rate] = {}
        if self.has_tiles and case.dtype == "bf16":
            rates["AMX, zeros"] = lambda: self.library.fovea_tile_rate(threads, 0)
            rates["AMX, random"] = lambda: self.library.fovea_tile_rate(threads, 1)
        rates["FMA"] = lambda: self.library.fovea_fma_rate(threads, self.lanes)
        return rates

    def reading(self, block: np.ndarray, threads: int) -> dict[str, Rate]:
        """Bytes of the block, another part of it each time."""
        size = min(READ_BYTES, block.nbytes)
        offsets = itertools.cycle(range(0, block.nbytes - size + 1, size))

        def read() -> float:
            address = ctypes.c_void_p(block.ctypes.data + next(offsets))
            return self.library.fovea_read_rate(threads, address, ctypes.c_size_t(size))

        return {"reading": read}


def import_torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


def make_peers(
    case: Case, torch: Any, names: list[str], q: np.ndarray, caches: list[Any]
) -> dict[str, Callable[[], Any]]:
    """The same attention by torch: each call takes the next of the caches and returns o."""

    def heads_first(x: np.ndarray) -> Any:
        bits = x.view(np.int16) if x.dtype == ml_dtypes.bfloat16 else x
        tensor = torch.from_numpy(bits)
        return (tensor.view(torch.bfloat16) if bits is not x else tensor).transpose(1, 2)

    query, grouped = heads_first(q), case.heads != case.kv_heads
    tensors = [(heads_first(k), heads_first(v)) for k, v in caches]

    def sdpa(k: Any, v: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            query, k, v, is_causal=case.causal, enable_gqa=grouped
        )

    def make_flex() -> Callable[[Any, Any], Any]:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        torch.compiler.reset()
        compiled = torch.compile(flex_attention)
        mask = None
        if case.causal:  # queries and keys are equally many
            mask = create_block_mask(
                lambda b, h, i, j: i >= j, None, None, case.queries, case.keys, device="cpu"
            )
        return lambda k, v: compiled(query, k, v, block_mask=mask, enable_gqa=grouped)

    def in_turns(attend: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        turns = itertools.cycle(tensors)
        return lambda: attend(*next(turns))

    makers = {"sdpa": lambda: sdpa, "flex": make_flex}
    return {name: in_turns(makers[name]()) for name in names}


@dataclass
class Prepared:
    """A case ready to run: the implementations on the same numbers, checked against each other,
    and the machine's rates in its unit."""

    case: Case
    implementations: dict[str, Callable[[], Any]]
    rates: dict[str, Rate]


def compile_kernel(name: str, spec: str, folder: Path, build: Path) -> fovea.Kernel:
    library = folder / f"{name}.so"
    if not library.exists():
        path = folder / f"{name}.yaml"
        path.write_text(spec)
        fovea.compile_spec(path, folder, name=name, driver=build / "bin" / "fovea")
    return fovea.load(library)


def prepare(
    case: Case,
    threads: int,
    machine: Machine,
    options: argparse.Namespace,
    folder: Path,
    torch: Any,
) -> Prepared:
    kernel = compile_kernel(case.kernel, case.spec, folder, options.build)
    context = kernel.create_context(threads)

    random = np.random.default_rng(1)
    q = case.draw(random, case.queries, case.heads)
    k, v = (case.draw(random, case.keys, case.kv_heads) for _ in range(2))
    o = np.empty_like(q)
    caches = [(k, v)]
    rates = machine.arithmetic(case, threads)
    if case.is_decode:
        # One block of memory, so that its reading can be timed as a whole.
        count = max(1, CACHE_BYTES // int(case.work))
        block = np.empty(count * int(case.work), np.uint8)
        caches = []
        for piece in np.split(block.view(k.dtype), 2 * count):
            source = (k, v)[len(caches) % 2]
            order = (0, 2, 1, 3) if case.layout == "bhsd" else (0, 1, 2, 3)
            stored = source.transpose(order)
            copy = piece.reshape(stored.shape)
            copy[:] = stored
            caches.append(copy.transpose(order))
        caches = list(zip(caches[::2], caches[1::2], strict=True))
        rates = machine.reading(block, threads)

    calls = [kernel.bind(q=q, k=k, v=v, o=o, context=context) for k, v in caches]
    turns = itertools.cycle(calls)

    def run() -> None:
        next(turns)()

    peers = make_peers(case, torch, options.peers, q, caches) if torch else {}
    run()
    for name, peer in peers.items():
        peer_o = peer().transpose(1, 2).float().numpy()
        error = np.abs(peer_o - o.astype(np.float32)).max()
        if error > {"f32": 1e-4, "f16": 4e-3, "bf16": 3e-2}[case.dtype]:
            sys.exit(f"{case.name}: {name} and fovea differ by {error}")
    return Prepared(case, {"fovea": run, **peers}, rates)


def measure(run: Callable[[], None], least: float) -> float:
    """Seconds of one call: the mean over calls that take `least` seconds together."""
    calls, start = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        spent = time.perf_counter() - start
        if spent >= least:
            return spent / calls


def benchmark(prepared: Prepared, threads: int, options: argparse.Namespace) -> list[Result]:
    case = prepared.case
    rates: dict[str, list[float]] = {name: [] for name in prepared.rates}
    seconds: dict[str, list[float]] = {name: [] for name in prepared.implementations}
    for _ in range(options.rounds):
        for name, run in prepared.implementations.items():
            for rate, calibrate in prepared.rates.items():
                rates[rate].append(calibrate())
            seconds[name].append(measure(run, options.least))
    medians = {rate: statistics.median(values) for rate, values in rates.items()}
    results = []
    for name, spent in seconds.items():
        done = case.work / statistics.median(spent)
        shares = {rate: done / value for rate, value in medians.items()}
        results.append(
            {
                "case": case.name,
                "threads": threads,
                "implementation": name,
                "milliseconds": 1e3 * statistics.median(spent),
                "share": next(iter(shares.values())),
                "shares": shares,
                "rates": medians,
                "unit": "B/s" if case.is_decode else "FLOP/s",
            }
        )
    return results


def print_table(results: list[Result]) -> None:
    for threads in sorted({result["threads"] for result in results}):
        chosen = [result for result in results if result["threads"] == threads]
        names = list(dict.fromkeys(result["implementation"] for result in chosen))
        print(f"\n{threads} thread(s); shares of the machine's first rate\n")
        columns = " | ".join(f"{name} ms | {name} share" for name in names)
        print(f"| case | machine | {columns} |")
        print("|---" * (2 * len(names) + 2) + "|")
        for case in dict.fromkeys(result["case"] for result in chosen):
            mine = [result for result in chosen if result["case"] == case]
            rates = [f"{rate / 1e9:.0f} ({name})" for name, rate in mine[0]["rates"].items()]
            cells = [case, f"{', '.join(rates)} G{mine[0]['unit']}"]
            for result in mine:
                cells += [f"{result['milliseconds']:.3f}", f"{100 * result['share']:.0f} %"]
            print("| " + " | ".join(cells) + " |")


def draw(results: list[Result], path: str) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    threads = sorted({result["threads"] for result in results})
    cases = list(dict.fromkeys(result["case"] for result in results))
    names = list(dict.fromkeys(result["implementation"] for result in results))
    figure, axes = plt.subplots(
        1, len(threads), figsize=(5 * len(threads) + 3, 0.45 * len(cases) + 1.2), sharey=True
    )
    for axis, count in zip(np.atleast_1d(axes), threads, strict=True):
        for offset, name in enumerate(names):
            chosen = [r for r in results if r["threads"] == count and r["implementation"] == name]
            places = np.arange(len(cases)) + 0.4 * (offset - (len(names) - 1) / 2)
            axis.barh(places, [100 * r["share"] for r in chosen], 0.38, label=name)
        axis.set_yticks(np.arange(len(cases)), cases)
        axis.set_title(f"{count} thread(s)")
        axis.set_xlabel("% of what the machine does, in the same run")
        axis.grid(axis="x", alpha=0.3)
    figure.axes[0].invert_yaxis()
    figure.axes[-1].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "release", help="the build folder"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--peers", nargs="*", choices=["sdpa", "flex"], default=["sdpa", "flex"], help="of torch"
    )
    parser.add_argument(
        "--isa", choices=TORCH_CAPABILITY, help="keep all to this instruction set; else the best"
    )
    parser.add_argument("--only", default="", help="cases whose name this pattern finds")
    parser.add_argument("--least", type=float, default=0.05, help="seconds of one measurement")
    parser.add_argument("--json", help="write the results there")
    parser.add_argument("--svg", help="draw the results there (needs matplotlib)")
    options = parser.parse_args()
    if options.svg:
        import matplotlib  # noqa: F401  before minutes are spent
    os.environ.pop("FOVEA_ISA", None)
    if options.isa:  # both are read when they start
        os.environ["FOVEA_ISA"] = options.isa
        os.environ["ATEN_CPU_CAPABILITY"] = TORCH_CAPABILITY[options.isa]
    torch = import_torch()
    machine = Machine(options.build, options.isa)
    cases = [case for case in CASES if re.search(options.only, case.name)]
    todo = list(itertools.product(options.threads, cases))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (threads, case) in enumerate(todo):
            if torch:
                torch.set_num_threads(threads)
                torch.set_grad_enabled(False)
            print(f"{number + 1} of {len(todo)}: {case.name}, {threads} thread(s)", file=sys.stderr)
            prepared = prepare(case, threads, machine, options, Path(folder), torch)
            results += benchmark(prepared, threads, options)
    print_table(results)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    if options.svg:
        draw(results, options.svg)


if __name__ == "__main__":
    main()
