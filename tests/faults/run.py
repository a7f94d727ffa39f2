"""Runs the test of each fault on the commit that had it and on this checkout: red there, green here.

    python3 tests/faults/run.py [--base REV] [--only ROW ...] [--here-only]

`rows.tsv` names for each fault a test: kind, program, name. The base is built in a work tree below `target/faults`, in
the profile of the tests; the tests are those of this checkout. A Rust test is copied into the base, so it may use only
what both have: a file that does not compile there counts as neither red nor green. Needs what `bash tests/run` leaves
(`.venv`, `wasm/node_modules`, `wasm/dist`). Costs about 15 minutes of processor time, most of it the base's builds.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "faults"
BASE = "5ebfa72"
SECONDS_MAX = 900


@dataclass(frozen=True)
class Fault:
    """A line of `rows.tsv`."""

    row: str
    kind: str  # rust, server, python or page
    program: str  # the test program: a crate's test target, or a file
    name: str  # of the test in it

    def test(self) -> str:
        return f"{self.program} {self.name}"


@dataclass(frozen=True)
class Tree:
    """What one side of the comparison consists of."""

    checkout: Path
    binary: Path
    python: Path
    package: Path


def faults(only: list[str]) -> list[Fault]:
    with (Path(__file__).parent / "rows.tsv").open(newline="") as file:
        lines = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        every = [Fault(line["row"], line["kind"], line["program"], line["name"]) for line in lines]
    return [fault for fault in every if not only or fault.row in only]


def run(command: list[str], cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=cwd, env=os.environ | environment, text=True, timeout=SECONDS_MAX,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired as expired:
        text = expired.stdout or b""
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        return subprocess.CompletedProcess(command, 1, f"{said}\nno end within {SECONDS_MAX} s")


def must(command: list[str], cwd: Path = ROOT, **environment: str) -> None:
    done = run(command, cwd, **environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}")


def build(tree: Tree, kinds: set[str], python: Path) -> None:
    """Builds of a checkout what tests of these kinds need."""
    cargo = {"PYO3_PYTHON": str(python), "PYO3_BUILD_EXTENSION_MODULE": "1"}
    if "server" in kinds or "page" in kinds:
        must(["cargo", "build", "--quiet", "--workspace", "--bin", "nearfield"], tree.checkout, **cargo)
    if "python" in kinds:
        wheels = tree.checkout / "target" / "wheel-of-faults"
        shutil.rmtree(wheels, ignore_errors=True)
        must([str(python), "-m", "maturin", "build", "--profile", "dev", "--quiet", "--out", str(wheels)],
             tree.checkout, **cargo)
        must([str(tree.python), "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps",
              *map(str, wheels.glob("*.whl"))])
    if "page" in kinds and not (tree.package / "index.js").exists():
        must(["npm", "ci", "--prefix", "wasm", "--no-audit", "--no-fund", "--ignore-scripts"], tree.checkout)
        must(["cargo", "run", "--quiet", "-p", "xtask", "--", "wasm"], tree.checkout)


def base_tree(revision: str, kinds: set[str], python: Path) -> Tree:
    checkout = WORK / "base"
    if not checkout.exists():
        must(["git", "worktree", "add", "--detach", str(checkout), revision])
    must(["git", "checkout", "--quiet", "--force", "--detach", revision], checkout)
    venv = WORK / "venv"
    if "python" in kinds and not venv.exists():
        must([str(python), "-m", "venv", str(venv)])
        must([str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "-r", "tests/python/requirements.txt"])
    tree = Tree(checkout, checkout / "target/debug/nearfield", venv / "bin/python", checkout / "wasm/dist")
    build(tree, kinds, python)
    for source in (ROOT / "tests/tests").glob("faults_*"):
        target = checkout / "tests/tests" / source.name
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    return tree


def rust(fault: Fault, tree: Tree, python: Path) -> str:
    # One set of features for all builds, so that dependencies are compiled once.
    done = run(["cargo", "test", "--workspace", "--test", fault.program, "--", "--exact", fault.name], tree.checkout,
               PYO3_PYTHON=str(python), PYO3_BUILD_EXTENSION_MODULE="1")
    if f"test {fault.name} ... ok" in done.stdout:
        return "green"
    # Also a test that ended its process.
    ran = "running 1 test" in done.stdout
    return "red" if ran and done.returncode != 0 else "does not build or exist"


def pytest(fault: Fault, tree: Tree, python: Path) -> str:
    done = run([str(python), "-m", "pytest", "-q", f"{fault.program}::{fault.name}"], ROOT,
               NEARFIELD_BINARY=str(tree.binary))
    if done.returncode == 0:
        return "green" if " passed" in done.stdout else "skipped"
    return "red" if done.returncode == 1 else "does not run"


def page(fault: Fault, tree: Tree, here: Tree) -> str:
    done = run(["node", "--test", "--test-reporter=tap", f"--test-name-pattern=^{fault.name}$", fault.program], ROOT,
               NEARFIELD_PACKAGE=str(tree.package), NEARFIELD_PYTHON=str(here.python), NEARFIELD_BINARY=str(tree.binary))
    if done.returncode != 0:
        return "red"
    return "skipped" if "\n# pass 0" in done.stdout else "green"


def result(fault: Fault, tree: Tree, here: Tree) -> str:
    if fault.kind == "rust":
        return rust(fault, tree, here.python)
    if fault.kind == "server":
        return pytest(fault, tree, here.python)
    if fault.kind == "python":
        return pytest(fault, tree, tree.python)
    return page(fault, tree, here)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=BASE, help="the commit that has the faults")
    parser.add_argument("--only", nargs="*", default=[], help="rows to run")
    parser.add_argument("--here-only", action="store_true", help="leave the base out")
    arguments = parser.parse_args()
    python = ROOT / ".venv/bin/python"
    here = Tree(ROOT, ROOT / "target/debug/nearfield", python, ROOT / "wasm/dist")
    chosen = faults(arguments.only)
    kinds = {fault.kind for fault in chosen}
    build(here, kinds, python)
    base = None if arguments.here_only else base_tree(arguments.base, kinds, python)
    wrong = 0
    for fault in chosen:
        before = result(fault, base, here) if base else "-"
        now = result(fault, here, here)
        right = now == "green" and before in ("red", "-")
        wrong += not right
        print(f"{'ok ' if right else 'BAD'}  row {fault.row:<4} {before:>8} -> {now:<8} {fault.test()}", flush=True)
    print(f"{len(chosen) - wrong} passed, {wrong} failed")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
