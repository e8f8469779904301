# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Reads the text of `fovea explain` and holds its roofline to the numbers printed beside it."""

import re
import sys

text = sys.stdin.read()
units = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def count(pattern: str) -> float:
    value, unit = re.search(pattern.replace("#", r"([\d.]+) ?([KMGT]?)"), text).groups()
    return float(value) * units[unit]


compute = count("operations +#FLOP") / count("from #FLOP/s")
memory = count("bytes +#B") / count("and #B/s")
stated = float(re.search(r"at least ([\d.]+) ms", text).group(1)) * 1e-3
bound = re.search(r"bound by (\w+)", text).group(1)
if abs(stated - max(compute, memory)) > 1e-6 + 0.02 * stated:
    sys.exit(f"{stated} s is not the greater of {compute} s and {memory} s")
if bound != ("arithmetic" if compute > memory else "memory"):
    sys.exit(f"'{bound}' is not what bounds {compute} s and {memory} s")
