"""Fixtures of the server's tests. What is tested is the program, from outside, over its sockets.

`NEARFIELD_BINARY` names a program to test; else cargo builds the one of this checkout, as `cargo run` would.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chromium import Browser, program
from needs import skip_or_fail
from served import ROOT, Server

Start = Callable[..., Server]


@pytest.fixture(scope="session")
def binary() -> Path:
    named = os.environ.get("NEARFIELD_BINARY")
    if named:
        return Path(named).resolve()
    build = ["cargo", "build", "--quiet", "--bin", "nearfield", "--message-format", "json"]
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    made = [json.loads(line).get("executable") for line in built.stdout.splitlines()]
    return Path(next(path for path in made if path))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(binary: Path, data_dir: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts servers on `data_dir`, or another directory; whatever still runs at the end is killed."""
    servers: list[Server] = []

    def started(*arguments: str, on: Path = data_dir, program: Path = binary) -> Server:
        server = Server(program, on, arguments, log=tmp_path / "server.log")
        servers.append(server)
        return server

    try:
        yield started
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    executable = program()
    if executable is None:
        skip_or_fail("no Chromium here (apt-get install chromium)")
    with Browser(executable, tmp_path / "profile") as opened:
        yield opened
