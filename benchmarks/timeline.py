# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws the schedule of a kernel for matrix units: what each unit of a core does, over cycles.

Reads the assembly that `fovea compile --emit asm` writes, takes the block with the most tile
products, the steady step of the pipeline, and plays it through a model of a core: instructions
enter in order, six in a cycle and 512 at most in flight, and each takes its unit for as long as
cpu.interleave assumes. That is a picture of the order, not a measurement: nothing in it waits
for memory or for a result.

    fovea compile llama.yaml --target cpu:amx --emit asm -o - | \\
        python benchmarks/timeline.py - --svg timeline.svg
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import deque
from pathlib import Path

WIDTH, IN_FLIGHT = 6, 512

# What an instruction starts with, its unit, and the cycles for which it keeps it.
UNITS = {
    "tile products": [("tdp", 16)],
    "tile loads": [("tileload", 8)],
    "tile stores": [("tilestore", 16)],
    # Floats and shifts; what else a vector instruction may be goes elsewhere.
    "vector arithmetic": [
        (name, 1)
        for name in (
            *("vadd", "vsub", "vmul", "vdiv", "vfm", "vfnm", "vmax", "vmin", "vcmp"),
            *("vreduce", "vscalef", "vcvt", "vpsr", "vpsl"),
        )
    ],
}
COLORS = ["#3b6fb6", "#7fb069", "#c98b2b", "#b5495b"]


def steady_block(assembly: str) -> list[str]:
    """The instructions between two labels or jumps with the most tile products."""
    blocks: list[list[str]] = [[]]
    for line in assembly.splitlines():
        if re.match(r"(\.L)?\w+:|\tj", line):
            blocks.append([])
        elif match := re.match(r"\t([a-z]\w*)", line):
            blocks[-1].append(match[1])
    best = max(blocks, key=lambda block: sum(name.startswith("tdp") for name in block))
    if not any(name.startswith("tdp") for name in best):
        sys.exit("timeline: the assembly has no tile product; was it made for the target amx?")
    return best


def unit_of(name: str) -> tuple[str, int] | None:
    for unit, kinds in UNITS.items():
        for prefix, cycles in kinds:
            if name.startswith(prefix):
                return unit, cycles
    return None


def play(block: list[str]) -> dict[str, list[tuple[float, float]]]:
    """When each unit is busy: (from, length) in cycles."""
    busy: dict[str, list[tuple[float, float]]] = {unit: [] for unit in UNITS}
    free = dict.fromkeys(UNITS, 0.0)
    flight: deque[float] = deque()  # when instructions leave, in order
    entered = 0.0
    for name in block:
        entered += 1 / WIDTH
        if len(flight) == IN_FLIGHT:
            entered = max(entered, flight.popleft())
        done = entered
        if found := unit_of(name):
            unit, cycles = found
            start = max(entered, free[unit])
            done = free[unit] = start + cycles
            busy[unit].append((start, cycles))
        flight.append(max(done, flight[-1] if flight else 0.0))
    return busy


def merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans that touch as one, so that a picture is small."""
    result: list[tuple[float, float]] = []
    for start, length in spans:
        if result and start - sum(result[-1]) < 0.5:
            result[-1] = (result[-1][0], start + length - result[-1][0])
        else:
            result.append((start, length))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("assembly", help="of a kernel for the target amx; - for standard input")
    parser.add_argument("--svg", help="draw it there (needs matplotlib)")
    options = parser.parse_args()
    text = sys.stdin.read() if options.assembly == "-" else Path(options.assembly).read_text()
    block = steady_block(text)
    busy = play(block)
    end = max(start + length for spans in busy.values() for start, length in spans)
    print(f"steady step: {len(block)} instructions, {end:.0f} cycles in the model")
    for unit, spans in busy.items():
        cycles = sum(length for _, length in spans)
        print(
            f"  {unit:18} {len(spans):5} of {cycles:5.0f} cycles, {100 * cycles / end:3.0f} % busy"
        )
    if not options.svg:
        return
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "fovea"
    figure, axis = plt.subplots(figsize=(11, 2.4))
    for row, (unit, spans) in enumerate(busy.items()):
        # Products are told from each other, the rest is merged where it touches.
        shown = spans if unit != "vector arithmetic" else merged(spans)
        edge = "white" if unit != "vector arithmetic" else "none"
        axis.broken_barh(
            shown, (row - 0.38, 0.76), facecolors=COLORS[row], edgecolors=edge, linewidth=0.3
        )
    axis.set_yticks(range(len(busy)), list(busy))
    axis.invert_yaxis()
    axis.set_xlim(0, end)
    axis.set_xlabel("cycles of the model")
    axis.set_title("One steady step of a kernel for matrix units", fontsize=10)
    figure.tight_layout()
    figure.savefig(options.svg, metadata={"Date": None})


if __name__ == "__main__":
    main()
