"""Fenced code blocks of a page of documentation, and a place where they run.

The first word of a block's info string is its language; `not-run: <reason>` behind it says why no test runs it.

| language | what a test does |
|---|---|
| `python` | runs it. Of a line `expression  # → value` the value must be that (`…` stands for anything) |
| `bash` | runs it in one shell for the page. `nearfield` is the program under test, port 8080 a free one |
| `js` | runs it in Node as a module; `nearfield` is the built package |
| `text` | right after one of these: compares the printed lines, where `…` stands for anything |
| `json` | right after one of these: compares the printed document, without times. Elsewhere: must be JSON |

Blocks of one page share a directory, their Python names and their shell.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbook import difference
from served import PATIENCE_SECONDS, ROOT, Client, environment

RUN = ("python", "bash", "js")
SHOWN = ("text", "json")
END = "end of block"
PACKAGE = ROOT / "wasm/dist"
# Errors of HTTP are errors of the command. What a server prints is not what the block prints. The shell ends with the
# first error, and all that it started with it.
PREPARE = """
set -euo pipefail
trap 'kill -9 -- -$$' EXIT
curl() { command curl --fail-with-body --silent --show-error "$@"; }
nearfield() {
  case $1 in
  serve*) command nearfield "$@" >server.log 2>&1 ;;
  *) command nearfield "$@" ;;
  esac
}
"""


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is that of its first line of text."""

    page: Path
    line: int
    language: str
    text: str
    # Why no test runs it.
    reason: str | None
    # Nothing stands between this block and the one before it.
    follows: bool

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path, text: str) -> list[Block]:
    """The blocks of a page, in order. A block without a language or with an empty reason is an error."""
    found: list[Block] = []
    lines = text.splitlines()
    begun: int | None = None
    ended = 0
    for number, line in enumerate(lines):
        if begun is None and line.startswith("    ") and not (number and lines[number - 1].strip()):
            raise ValueError(f"{page}:{number + 1}: an indented block: put it between fences, with a language")
        if not line.lstrip().startswith("```"):
            continue
        if begun is None:
            begun = number
            continue
        info = re.fullmatch(r"\s*```(\w+)(?: not-run: (\S.*))?", lines[begun])
        if info is None or info[1] not in RUN + SHOWN:
            raise ValueError(f"{page}:{begun + 1}: expected ```language or ```language not-run: reason, got {lines[begun]}")
        code = "".join(f"{line}\n" for line in lines[begun + 1 : number])
        follows = bool(found) and not "".join(lines[ended:begun]).strip()
        found.append(Block(page, begun + 2, info[1], code, info[2], follows))
        begun, ended = None, number + 1
    if begun is not None:
        raise ValueError(f"{page}:{begun + 1}: the block has no end")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Place:
    """Where the blocks of one page run. What they print is kept for the block that shows it."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        programs = directory.with_name("programs")
        programs.mkdir()
        (programs / "nearfield").symlink_to(binary)
        self.environment = environment() | {"PATH": f"{programs}:{os.environ['PATH']}"}
        self.shell = subprocess.Popen(
            ["bash"], cwd=directory, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.bash(Block(Path(), 0, "bash", PREPARE, None, False))

    def take(self, block: Block) -> None:
        """Runs a block, or compares what it shows with what the block before it printed."""
        runners: dict[str, Callable[[Block], str]] = {"python": self.python, "bash": self.bash, "js": self.js}
        if block.language in runners:
            self.printed = runners[block.language](block)
        elif block.follows:
            wrong = difference((block.language, block.text), self.printed)
            assert wrong is None, f"{block.place}: not as the page shows it: {wrong}"
            if block.language == "json":
                shown, printed = _without_times(block.text), _without_times(self.printed)
                assert shown == printed, f"{block.place}: not as the page shows it: {printed}"
        elif block.language == "json":
            json.loads(block.text)

    def python(self, block: Block) -> str:
        tree = ast.increment_lineno(ast.parse(block.text, str(block.page)), block.line - 1)
        lines = block.text.splitlines()
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            for statement in tree.body:
                last = lines[(statement.end_lineno or 0) - block.line]
                shown = re.search(r"#\s*→ (.*)$", last)
                if isinstance(statement, ast.Expr):
                    code = compile(ast.Expression(statement.value), str(block.page), "eval")
                    value = repr(eval(code, self.names))
                    if shown is not None and not _is_like(shown[1], value):
                        raise AssertionError(f"{block.page}:{statement.end_lineno}: shown {shown[1]}, it is {value}")
                else:
                    assert shown is None, f"{block.page}:{statement.lineno}: → behind a statement without a value"
                    exec(compile(ast.Module([statement], []), str(block.page), "exec"), self.names)
        return output.getvalue()

    def bash(self, block: Block) -> str:
        command = block.text.replace("8080", str(self.port))
        # Sourced, so that no command of the block reads the commands behind it.
        (self.directory / "block.sh").write_text(command)
        assert self.shell.stdin is not None and self.shell.stdout is not None
        self.shell.stdin.write(f". ./block.sh </dev/null\necho; echo {END}\n")
        self.shell.stdin.flush()
        watchdog = threading.Timer(PATIENCE_SECONDS, self.kill)
        watchdog.start()
        printed = ""
        try:
            while (line := self.shell.stdout.readline()).rstrip() != END:
                assert line, f"{block.place}: the shell ended:\n{command}\n{printed}"
                printed += line
        finally:
            watchdog.cancel()
        if "nearfield serve" in command:
            assert f"--port {self.port}" in command, f"{block.place}: a server says --port 8080"
            self.wait_for_server()
        return printed

    def wait_for_server(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(OSError), Client(self.port) as client:
                if client.raw("GET", "/readyz")[0] == 200:
                    return
            assert time.monotonic() < deadline, "no server that is ready on its port"
            time.sleep(0.02)

    def js(self, block: Block) -> str:
        modules = self.directory / "node_modules"
        modules.mkdir(exist_ok=True)
        if not (modules / "nearfield").exists():
            (modules / "nearfield").symlink_to(PACKAGE)
        (self.directory / "block.mjs").write_text(block.text)
        ran = subprocess.run(
            ["node", "block.mjs"], cwd=self.directory, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert ran.returncode == 0, f"{block.place}:\n{ran.stdout}"
        return ran.stdout

    def kill(self) -> None:
        """Ends the shell and all it started, by their process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.shell.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self.shell.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _without_times(text: str) -> Any:
    """The document without the members that differ from run to run, whose names end in `_ms`."""
    return json.loads(text, object_hook=lambda members: {k: v for k, v in members.items() if not k.endswith("_ms")})


def _is_like(shown: str, value: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.rstrip().split("…"))
    return re.fullmatch(pattern, value, re.DOTALL) is not None
