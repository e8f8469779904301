# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The checks of the sources that need no build to run: `lint.py CHECK`, from ctest as lint/CHECK.

format    clang-format-22 leaves every C and C++ file as it is
python    ruff finds nothing to say and nothing to reformat
headers   every source file starts with the licence header
verifiers every message of a verifier of the dialects is expected by some test
tidy      clang-tidy-22 is silent on every file that is compiled from TIDY_FOLDERS
one-copy  a program links libLLVM and libMLIR as shared libraries and holds no copy of its own

Exit status 0: clean; 1: findings, on stdout; 77: a tool is missing (ctest shows it as skipped).
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77
CXX = (".cpp", ".h", ".c", ".hpp")
# Files that are found by name rather than by suffix.
SCRIPTS = ("CMakeLists.txt",)
# Tests and benchmarks are held to the format only.
TIDY_FOLDERS = ("compiler", "dialects", "runtime", "tools")
LICENCE = (
    "Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.",
    "See LICENSE for license information.",
    "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception",
)


def sources() -> list[Path]:
    """The project's own files: what git tracks or would track, or the tree when there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        files = [ROOT / name for name in listing.stdout.splitlines()]
    else:
        files = [f for f in ROOT.rglob("*") if "build" not in f.relative_to(ROOT).parts]
    return sorted(f for f in files if f.is_file())


def need(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    beside = Path(sys.executable).parent / names[0]
    if beside.exists():
        return str(beside)
    print(f"{names[0]} is not installed; scripts/setup installs it")
    sys.exit(SKIPPED)


def check_format(_: argparse.Namespace) -> int:
    tool = need("clang-format-22")
    files = [str(f) for f in sources() if f.suffix in CXX]
    return subprocess.run([tool, "--dry-run", "-Werror", *files], check=False).returncode != 0


def check_python(_: argparse.Namespace) -> int:
    tool = need("ruff")
    cache = "--no-cache"
    lint = subprocess.run([tool, "check", cache, str(ROOT)], check=False)
    layout = subprocess.run([tool, "format", "--check", cache, str(ROOT)], check=False)
    return lint.returncode != 0 or layout.returncode != 0


def check_headers(_: argparse.Namespace) -> int:
    """The comment may be wrapped and may follow a #! line or open a C comment."""
    wrong = []
    suffixes = (*CXX, ".td", ".py", ".cmake", ".in", ".sh", ".mlir", ".toml", ".ini")
    for file in sources():
        is_script = file.parent.name in ("scripts", ".ci") and not file.suffix
        if not (file.suffix in suffixes or file.name in SCRIPTS or is_script):
            continue
        text = file.read_text(errors="replace")[:600]
        words = " ".join(re.sub(r"^\s*(//|#!.*|#|/\*|\*)", "", text, flags=re.M).split())
        if not words.startswith(" ".join(LICENCE)):
            wrong.append(file)
    for file in wrong:
        print(f"{file.relative_to(ROOT)}:1: no licence header; copy it from any other file")
    return bool(wrong)


def literals(expression: str) -> list[str]:
    """The string literals of a message, adjacent ones joined as the compiler does."""
    joined = re.sub(r'"\s*\n?\s*"', "", expression)
    return re.findall(r'"((?:[^"\\]|\\.)*)"', joined)


def check_verifiers(_: argparse.Namespace) -> int:
    """A message is covered when its longest literal piece is in a test of the same dialect."""
    missing = 0
    for dialect in sorted((ROOT / "dialects").iterdir()):
        tests = ROOT / "test" / "Dialect" / dialect.name
        expected = "".join(f.read_text() for f in tests.glob("*.mlir"))
        for source in sorted(dialect.glob("IR/*.cpp")):
            text = source.read_text()
            for match in re.finditer(r"\bemit(?:Op)?Error\(.*?;", text, flags=re.S):
                pieces = literals(match.group(0))
                if not pieces or max(pieces, key=len) in expected:
                    continue
                line = text.count("\n", 0, match.start()) + 1
                message = max(pieces, key=len)
                print(f"{source.relative_to(ROOT)}:{line}: no test expects '{message}'")
                missing += 1
    return missing != 0


def check_tidy(args: argparse.Namespace) -> int:
    """A clean file is remembered by its text, its command and every project header."""
    tool = need("clang-tidy-22")
    database = json.loads((args.build / "compile_commands.json").read_text())
    stamps = args.build / "lint" / "tidy"
    stamps.mkdir(parents=True, exist_ok=True)
    owned = set(sources())
    common = hashlib.sha256(subprocess.check_output([tool, "--version"]))
    for file in sorted(owned):
        if file.suffix in (".h", ".td") or file.name == ".clang-tidy":
            common.update(file.read_bytes())
    files = {}
    for entry in database:
        file = Path(entry["file"])
        # What is compiled twice, for the static and the shared runtime, is looked at once.
        if file in owned and file.relative_to(ROOT).parts[0] in TIDY_FOLDERS:
            key = common.copy()
            key.update(entry["command"].encode() + file.read_bytes())
            files[file] = stamps / key.hexdigest()
    if not files:
        print(f"{args.build} compiles no file of this tree")
        return 1
    todo = [file for file, stamp in files.items() if not stamp.exists()]

    def run(file: Path) -> str:
        command = [tool, "-p", str(args.build), "--quiet", str(file)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0 and not result.stdout.strip():
            files[file].touch()
            return ""
        return result.stdout or result.stderr or f"{file}: clang-tidy failed\n"

    findings = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for output in filter(None, pool.map(run, todo)):
            findings += 1
            print(output)
    known = len(files) - len(todo)
    print(f"{known} files clean before, {len(todo)} checked now, {findings} with findings")
    return findings != 0


def check_one_copy(args: argparse.Namespace) -> int:
    """A static MLIR beside the shared one links, and misbehaves without a word."""
    ldd = subprocess.run(["ldd", args.program], capture_output=True, text=True, check=True)
    for library in args.needs:
        count = len(re.findall(rf"^\s*lib{library}\.so", ldd.stdout, flags=re.M))
        if count != 1:
            print(f"{args.program} links lib{library}.so {count} times; expected once")
            return 1
    nm = need("llvm-nm-22", "llvm-nm", "nm")
    command = [nm, "--demangle", "--defined-only", args.program]
    symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Functions that every copy of the libraries has.
    for function in (
        "mlir::Operation::create",
        "mlir::MLIRContext::MLIRContext",
        "llvm::Value::Value",
    ):
        if f"{function}(" in symbols:
            print(f"{args.program} has its own {function}: a static library is linked in")
            return 1
    return 0


CHECKS = {
    "format": check_format,
    "python": check_python,
    "headers": check_headers,
    "verifiers": check_verifiers,
    "tidy": check_tidy,
    "one-copy": check_one_copy,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--build", type=Path, help="build folder (tidy)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--program", help="program to look at (one-copy)")
    parser.add_argument("--needs", nargs="*", default=[], help="shared libraries that it links")
    args = parser.parse_args()
    return int(CHECKS[args.check](args))


if __name__ == "__main__":
    sys.exit(main())
