"""A real server process and a small client for it, standard library only.

A `Server` owns its process: it is stopped by its own pid, and never outlives the test. What it prints goes
to a file, so that a full pipe cannot stop it and a failure can show it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Reached only when something hangs; generous because machines of tests are slow and shared.
PATIENCE_SECONDS = 120.0
Json = Any


class Refused(Exception):
    """An answer other than 2xx."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body

    @property
    def code(self) -> str:
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class Client:
    """One connection that is kept open; not for several threads at once."""

    def __init__(self, port: int, token: str | None = None, timeout: float = PATIENCE_SECONDS) -> None:
        self.token = token
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body."""
        sent = {"content-type": "application/json"} if body is not None else {}
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        try:
            self.connection.request(method, path, body, sent | (headers or {}))
            answer = self.connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException):
            # The next call starts with a new connection.
            self.connection.close()
            raise

    def call(self, method: str, path: str, document: Json = None) -> Json:
        """What stands under `data`; anything but 2xx raises `Refused`."""
        body = None if document is None else json.dumps(document).encode()
        status, headers, answer = self.raw(method, path, body)
        is_json = headers.get("content-type", "").startswith("application/json")
        parsed: Json = json.loads(answer) if is_json else answer.decode()
        if status // 100 != 2:
            raise Refused(status, parsed)
        return parsed if isinstance(parsed, str) else parsed["data"]

    def get(self, path: str) -> Json:
        return self.call("GET", path)

    def post(self, path: str, document: Json = None) -> Json:
        return self.call("POST", path, {} if document is None else document)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server:
    """`serve-v2` on a free loopback port."""

    def __init__(self, binary: Path, data_dir: Path, arguments: Sequence[str] = (), *, log: Path) -> None:
        command = [str(binary), "serve-v2", "--data-dir", str(data_dir), "--port", "0", *arguments]
        self.data_dir = data_dir
        self.log = log
        self.begins_at = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent
            )
        self.port = int(self.wait_for(r"listening on http://[^\s/]*:(\d+)"))

    @property
    def output(self) -> str:
        """What this process printed so far, both streams."""
        with self.log.open("rb") as log:
            log.seek(self.begins_at)
            return log.read().decode(errors="replace")

    def wait_for(self, pattern: str) -> str:
        """The first group of `pattern` in the output, as soon as it is there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            ended = self.process.poll()
            found = re.search(pattern, self.output)
            if found:
                return found[1] if found.re.groups else found[0]
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no {pattern!r}, ended with {ended}:\n{self.output}")
            time.sleep(0.01)

    def client(self, token: str | None = None, timeout: float = PATIENCE_SECONDS) -> Client:
        return Client(self.port, token, timeout)

    def bootstrap_key(self) -> str:
        return self.wait_for(r"BOOTSTRAP_ADMIN_KEY=(\S+)")

    def wait_ready(self) -> Json:
        """The answer of `health/ready` once it is 200."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        last: object = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output}"
            with self.client(timeout=10) as client:
                try:
                    return client.get("/v2/health/ready")
                except (Refused, OSError, http.client.HTTPException) as error:
                    last = error
            time.sleep(0.02)
        raise AssertionError(f"never ready: {last}\n{self.output}")

    def status_kib(self, name: str) -> int:
        """A line of /proc/<pid>/status, such as VmHWM, in KiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert found, text
        return int(found[1])

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end; its exit code."""
        self.process.send_signal(by)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end after {by.name}:\n{self.output}") from None

    def kill(self) -> None:
        """Signal 9. Harmless if it has ended."""
        self.process.kill()
        self.process.wait()


def run(binary: Path, *arguments: str | Path, code: int = 0) -> str:
    """Runs a command to its end; its standard output. Another exit code than `code` fails."""
    ended = subprocess.run(
        [binary, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert ended.returncode == code, (arguments, ended.returncode, ended.stdout, ended.stderr)
    return ended.stdout if code == 0 else ended.stdout + ended.stderr


def create_key(binary: Path, data_dir: Path, roles: str, name: str = "test") -> tuple[str, str]:
    """A new key: its id and its token."""
    printed = run(binary, "key-create", "--data-dir", data_dir, "--name", name, "--roles", roles)
    token = re.search(r"nfk_[0-9a-f]{16}\.[0-9a-f]{64}", printed)
    assert token, printed
    return token[0].split(".")[0], token[0]


@contextlib.contextmanager
def half_open(port: int, head: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Connections that sent `head` and then nothing. Those that were refused are left out."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                sockets.append(connection)
                connection.sendall(head)
            except OSError:
                continue
        yield sockets
    finally:
        for connection in sockets:
            connection.close()


def environment() -> dict[str, str]:
    """For child processes: no proxy between us and loopback."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return kept | {"NO_PROXY": "127.0.0.1,localhost"}
