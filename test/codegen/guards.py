# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Guards of generated code: counted, not timed, so that they hold on every machine.

Compiles specs to assembly for each instruction set and counts, in all functions together,

    calls         of functions that a kernel may not need, such as those of libm
    tile spills   of 1024 bytes, which cost more than what they make room for
    vector spills stores of vector registers to the stack
    hot loops     instructions of each innermost loop that is mostly multiply-adds,
                  and the vectors that it spills or reloads
    tile code     instructions of each function that multiplies tiles

Calls that are not allowed and tile spills fail at once; the other numbers fail when they are
above those recorded in limits.json. Who makes them smaller, or larger for a good reason, records
them anew:

    python test/codegen/guards.py --fovea build/release/bin/fovea --record
"""

from __future__ import annotations

import argparse
import json
import operator
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Path(__file__).with_name("limits.json")
SPECS = [
    "llama3_8b",
    "qwen3_8b",
    "gemma2_local",
    "bloom",
    "vit_base",
    "smollm2_decode",
    "deepseek_mla",
]
ISAS = ["avx512", "x86-64-v3"]
# Those that matrix units serve: behind RoPE, norms, a cache and a score, f16, and f32 as asked for.
MATRIX_SPECS = ["llama3_8b", "qwen3_8b", "gemma2_local", "bloom", "vit_base", "deepseek_mla"]

# Of the runtime and of the C library; functions of the kernel's own have a dot in their name.
ALLOWED_CALLS = {"fovea_parallel_for", "fovea_invoke", "fovea_workspace_size", "memset", "memcpy"}

VECTOR_BYTES = (32, 64)
TILE_BYTES = 1024

COUNTS = ("vector spills", "spills in hot loops")
LENGTHS = ("hot loops", "tile code")

# An innermost loop with so many multiply-adds is one that a kernel lives in.
HOT = 32


def functions(assembly: str) -> dict[str, list[str]]:
    """The lines of each function."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in assembly.splitlines():
        if match := re.match(r"([\w.$]+):\s+# @\1", line):
            lines = found.setdefault(match[1], [])
        elif line.startswith(".Lfunc_end"):
            lines = []
        lines.append(line)
    return found


def innermost_loops(lines: list[str]) -> list[list[str]]:
    """From the header of each to the last jump back to it."""
    loops = []
    label, start = "", 0
    for number, line in enumerate(lines):
        if match := re.match(r"(\.LBB\w+):", line):
            label, start = match[1], number
        if "Inner Loop Header" not in line:
            continue
        jump = re.compile(rf"\s+j\w+\s+{re.escape(label)}\b")
        ends = [at for at in range(start, len(lines)) if jump.match(lines[at])]
        if ends:
            loops.append(lines[start : ends[-1] + 1])
    return loops


def instructions(lines: list[str]) -> list[str]:
    return [line for line in lines if re.match(r"\t[a-z]", line)]


def spilled(lines: list[str], kinds: str = "Spill") -> Counter[int]:
    """How many values of each size in bytes go to the stack."""
    pattern = re.compile(rf"(\d+)-byte (?:Folded )?(?:{kinds})")
    return Counter(int(match[1]) for line in lines if (match := pattern.search(line)))


def report(assembly: str) -> dict[str, Any]:
    calls: set[str] = set()
    spills: Counter[int] = Counter()
    hot: list[int] = []
    tile_code: list[int] = []
    hot_spills = 0
    for lines in functions(assembly).values():
        for line in instructions(lines):
            if (match := re.match(r"\tcallq?\t(\S+?)(@PLT)?$", line)) and "." not in match[1]:
                calls.add(match[1])
        spills += spilled(lines)
        if any(line.startswith("\ttdp") for line in lines):
            tile_code.append(len(instructions(lines)))
        for loop in innermost_loops(lines):
            body = instructions(loop)
            if sum("vfmadd" in line or "vfnmadd" in line for line in body) < HOT:
                continue
            hot.append(len(body))
            in_loop = spilled(loop, "Spill|Reload")
            hot_spills += sum(in_loop[size] for size in VECTOR_BYTES)
    return {
        "calls": sorted(calls),
        "tile spills": spills[TILE_BYTES],
        "spills in hot loops": hot_spills,
        "vector spills": sum(spills[size] for size in VECTOR_BYTES),
        "hot loops": sorted(hot, reverse=True),
        "tile code": sorted(tile_code, reverse=True),
    }


def violations(got: dict[str, Any], limit: dict[str, Any] | None) -> list[str]:
    found = [f"calls {name}" for name in got["calls"] if name not in ALLOWED_CALLS]
    if got["tile spills"]:
        found.append(f"{got['tile spills']} tile spills")
    if limit is None:
        return [*found, "nothing recorded"]
    for count in COUNTS:
        if got[count] > limit[count]:
            found.append(f"{got[count]} {count}, {limit[count]} recorded")
    if not got["hot loops"]:
        found.append("no hot loop was found")
    for lengths in LENGTHS:
        now, then = got[lengths], limit[lengths]
        if len(now) != len(then) or any(map(operator.gt, now, then)):
            found.append(f"instructions of {lengths} are {now}, {then} recorded")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fovea", type=Path, required=True, help="the driver")
    parser.add_argument("--record", action="store_true", help="take what is as the limits")
    options = parser.parse_args()
    limits = {} if options.record else json.loads(LIMITS.read_text())
    failures = 0
    for spec in SPECS:
        for isa in ["amx", *ISAS] if spec in MATRIX_SPECS else ISAS:
            source = ROOT / "examples" / "specs" / f"{spec}.yaml"
            command = [options.fovea, "compile", source, "--target", f"cpu:{isa}"]
            done = subprocess.run(
                [*command, "--emit", "asm", "-o", "-"], capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(done.stderr)
            name, got = f"{spec} {isa}", report(done.stdout)
            if options.record:
                limits[name] = {key: got[key] for key in (*COUNTS, *LENGTHS)}
            found = violations(got, limits.get(name))
            failures += bool(found)
            counts = ", ".join(f"{got[count]} {count}" for count in COUNTS)
            code = ", ".join(f"{lengths} of {got[lengths]}" for lengths in LENGTHS)
            print(f"{name}: {counts}; {code} instructions")
            for violation in found:
                print(f"  error: {violation}")
    if options.record:
        lines = [f"{json.dumps(name)}: {json.dumps(limit)}" for name, limit in limits.items()]
        LIMITS.write_text("{\n " + ",\n ".join(lines) + "\n}\n")
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
