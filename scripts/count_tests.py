# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Counts single tests in ctest's JUnit report: `count_tests.py REPORT CTEST_STATUS`.

What ctest runs as one test is often a program with many: GoogleTest, lit and pytest each end with a
summary of their own, and that is what counts; any other test counts as one. A test that ctest calls
failed counts at least one failure, whatever its summary says, so that a crash is never lost.

The last line is `N passed, N failed, N skipped`; the exit status is 1 if anything failed, if
nothing ran, or if ctest itself failed.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SUMMARIES = {
    "GoogleTest": {
        "passed": r"^\[  PASSED  \] (\d+) tests?\.",
        "failed": r"^\[  FAILED  \] (\d+) tests?, listed below:",
        "skipped": r"^\[  SKIPPED \] (\d+) tests?, listed below:",
    },
    "lit": {
        "passed": r"^ +(?:Passed|Expectedly Failed) *: +(\d+)",
        "failed": r"^ +(?:Failed|Unexpectedly Passed|Timed Out|Unresolved) *: +(\d+)",
        "skipped": r"^ +(?:Unsupported|Skipped|Excluded) *: +(\d+)",
    },
    "pytest": {
        "passed": r"^=*[^=\n]*?(\d+) passed[^\n]* in [\d.]+s",
        "failed": r"^=*[^=\n]*?(\d+) (?:failed|errors?)\b[^\n]* in [\d.]+s",
        "skipped": r"^=*[^=\n]*?(\d+) skipped[^\n]* in [\d.]+s",
    },
}


def count(case: ElementTree.Element) -> dict[str, int]:
    status = case.get("status")
    outcome = {"run": "passed", "fail": "failed"}.get(status, "skipped")
    output = case.findtext("system-out") or ""
    # ctest writes the terminal's colours as they come.
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    for patterns in SUMMARIES.values():
        found = {
            kind: sum(int(n) for n in re.findall(pattern, output, flags=re.M))
            for kind, pattern in patterns.items()
        }
        if any(found.values()):
            break
    else:
        found = {"passed": 0, "failed": 0, "skipped": 0, outcome: 1}
    if outcome == "failed" and found["failed"] == 0:
        found["failed"] = 1
    return found


def main() -> int:
    report, ctest_status = Path(sys.argv[1]), int(sys.argv[2])
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    if report.exists():
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            found = count(case)
            for kind, number in found.items():
                totals[kind] += number
            if found["failed"]:
                print(f"failed: {case.get('name')}")
    print(", ".join(f"{number} {kind}" for kind, number in totals.items()))
    return int(totals["failed"] > 0 or totals["passed"] == 0 or ctest_status != 0)


if __name__ == "__main__":
    sys.exit(main())
