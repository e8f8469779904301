# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

"""Runs a command and ends well if it ended with the given status and wrote nothing to stdout."""

import subprocess
import sys

result = subprocess.run(sys.argv[2:], capture_output=True, text=True, check=False)
sys.stderr.write(result.stderr)
if result.stdout:
    sys.exit(f"output on stdout: {result.stdout[:200]}")
if result.returncode != int(sys.argv[1]):
    sys.exit(f"status {result.returncode}, expected {sys.argv[1]}")
