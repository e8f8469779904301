# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Holds the numbers of one `fovea bench`, in its text and in JSON, to each other."""

import json
import math
import pathlib
import re
import sys

text = pathlib.Path(sys.argv[1]).read_text()
stated = json.loads(pathlib.Path(sys.argv[2]).read_text())


def number(name: str) -> float:
    return float(re.search(rf"\n  {name} +([\d.]+)", text).group(1))


def check(what: str, value: float, expected: float, within: float = 0.05) -> None:
    if not math.isclose(value, expected, rel_tol=within):
        sys.exit(f"{what} is {value}, expected {expected}")


time, least = number("time"), float(re.search(r"least ([\d.]+) ms", text).group(1))
check("rate", number("rate"), number("work") / (time * 1e-3))
# The share is the median over the rounds, not the share of the medians.
check("share", number("share"), 100 * number("rate") / number("FMA rate"), 0.5)
if least > time:
    sys.exit(f"the least time, {least} ms, is more than the median, {time} ms")

if stated["threads"] != 2 or stated["rounds"] != 3 or stated["workspace_bytes"] <= 0:
    sys.exit(f"threads, rounds or workspace_bytes: {stated}")
if stated["least_seconds"] > stated["median_seconds"]:
    sys.exit(f"least_seconds is more than median_seconds: {stated}")
check(
    "rate", stated["operations_per_second"], stated["operations"] / stated["median_seconds"], 1e-6
)
share = stated["operations_per_second"] / stated["fma_operations_per_second"]
check("share_of_fma_rate", stated["share_of_fma_rate"], share, 0.5)
