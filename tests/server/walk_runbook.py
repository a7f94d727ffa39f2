"""Walks a runbook against a real server: run by test_runbook.py, in a network of its own where possible.

    python walk_runbook.py PAGE DIRECTORY [PORT]

Every command runs verbatim in DIRECTORY, which lies in the checkout so that `cargo run --` finds it. With
PORT, where there is no network of its own, 8080 and 0.0.0.0 are replaced, and that is said. Restore and replay
want the directory to themselves: they are first tried beside the server, which must refuse them, then
with the server stopped; it is started again as the page starts it.
"""

from __future__ import annotations

import fcntl
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from runbook import Step, difference, filled, steps
from served import PATIENCE_SECONDS, Client, environment

OFFLINE = {"snapshot-restore": "restore_backup_*", "replay-to-lsn": "replay_backup_*"}
SERVE = ("serve", "serve-v2")
LOCKED = 4
WRITERS = 16


def loopback_up() -> None:
    """A new network begins with its loopback down. SIOCSIFFLAGS with IFF_UP | IFF_RUNNING."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))


class Walk:
    """What is known at a step: the running server, and what earlier steps printed."""

    def __init__(self, place: Path, port: int | None) -> None:
        self.place = place
        self.substituted = port is not None
        self.port = port or 8080
        self.values: dict[str, str] = {}
        self.server: subprocess.Popen[bytes] | None = None
        self.serving = ""
        self.dim = 0
        self.data_dir = place
        # Batch → LSN, of batches this walk wrote.
        self.written: dict[int, int] = {}

    def command(self, step: Step) -> str:
        command = filled(step.command, self.values)
        if self.substituted:
            command = command.replace("8080", str(self.port)).replace("0.0.0.0", "127.0.0.1")
        return command

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.place, env=environment(), text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=5 * PATIENCE_SECONDS,
        )  # fmt: skip

    def take(self, step: Step) -> None:
        command = self.command(step)
        print(f"\n$ {command.rstrip()}", flush=True)
        if step.verb in SERVE:
            self.stop()
            self.check(step, self.serve(command))
            return
        if step.verb in OFFLINE:
            self.prepare_offline(step, command)
        ended = self.run(command)
        print(ended.stdout + ended.stderr, end="", flush=True)
        assert ended.returncode == 0, f"exit code {ended.returncode}"
        self.check(step, ended.stdout)
        if step.verb in OFFLINE:
            self.serve(self.serving)
            self.check_offline(step, command)

    def serve(self, command: str) -> str:
        """Starts the server in the background; what it printed until it was ready."""
        self.serving = command
        data_dir = re.search(r"--data-dir (\S+)", command)
        dim = re.search(r"--dim (\d+)", command)
        self.data_dir = self.place / data_dir[1] if data_dir else self.place / "nearfield_data"
        self.dim = int(dim[1]) if dim else self.dim
        log = self.place / "server.log"
        with log.open("wb") as output:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.place, env=environment(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + 5 * PATIENCE_SECONDS
        while not self.ready():
            said = log.read_text()
            assert self.server.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.05)
        said = log.read_text()
        print(said, end="", flush=True)
        key = re.search(r"^BOOTSTRAP_ADMIN_KEY=(\S+)$", said, re.MULTILINE)
        if key:
            assert "token" not in self.values, "a second bootstrap key"
            self.values["token"] = key[1]
        return said

    def ready(self) -> bool:
        try:
            with Client(self.port, self.values.get("token"), timeout=10) as client:
                return client.raw("GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False

    def stop(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            code = self.server.wait(PATIENCE_SECONDS)
            self.server = None
            assert code == 0, f"the server ended with {code}"

    def check(self, step: Step, printed: str) -> None:
        if step.verb == "curl" and printed.lstrip().startswith("{"):
            assert "data" in json.loads(printed), "curl was answered with an error"
        if step.shown is not None:
            wrong = difference(step.shown, printed)
            assert wrong is None, f"not as the page shows it: {wrong}"
        for name, verb, pattern in (
            ("vbk_id", "key-create", r"\b(nfk_[0-9a-f]{16})\b"),
            ("snapshot_id", "snapshot-create", r"\b(snap[-_]\w+)"),
        ):
            found = re.search(pattern, printed)
            if step.verb == verb:
                assert found, f"no {name} in the output"
                self.values[name] = found[1]

    def prepare_offline(self, step: Step, command: str) -> None:
        """Writes what the step goes back from, sees it refused beside the server, stops the server."""
        target = re.search(r"--target-lsn (\d+)", command)
        self.write_beyond(int(target[1]) if target else 0)
        if "--into" not in command:
            refused = self.run(command)
            assert refused.returncode == LOCKED, (refused.returncode, refused.stdout, refused.stderr)
            print(f"(beside the running server: {refused.stderr.strip()})")
        print("(the server is stopped, and started again afterwards)", flush=True)
        self.stop()

    def write_beyond(self, lsn: int) -> None:
        """One-row batches until one has an LSN above `lsn` by a few; at least a hundred."""
        lock = threading.Lock()
        failures: list[Exception] = []
        begun = max(self.written, default=-1) + 1
        numbers = iter(range(begun, begun + 100_000))

        def work() -> None:
            with Client(self.port, self.values["token"]) as client:
                while True:
                    with lock:
                        number = next(numbers)
                        enough = max(self.written.values(), default=0) > lsn + 50
                    if failures or (enough and number > begun + 100):
                        return
                    try:
                        answer = client.post("/v2/vectors/batch", self.batch(number))
                    except Exception as error:
                        failures.append(error)
                        return
                    with lock:
                        self.written[number] = answer["lsn"]

        threads = [threading.Thread(target=work) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
        print(f"({len(self.written)} batches are written, LSN {max(self.written.values())})", flush=True)

    def batch(self, number: int) -> dict[str, Any]:
        return {"vectors": [{"id": number, "vector": [1.0] * self.dim, "metadata": {"batch": number}}]}

    def there(self) -> set[int]:
        numbers = list(self.written)
        with Client(self.port, self.values["token"]) as client:
            pages = (numbers[at : at + 5000] for at in range(0, len(numbers), 5000))
            found = [client.post("/v2/points/get", {"ids": page})["points"] for page in pages]
        return {point["id"] for page in found for point in page}

    def check_offline(self, step: Step, command: str) -> None:
        """After a replay exactly the batches up to the LSN are there; the old state is kept aside."""
        if "--into" in command:
            return
        kept = list((self.data_dir / "tmp").glob(OFFLINE[step.verb]))
        assert len(kept) == 1, f"{kept} below {self.data_dir}/tmp"
        there = self.there()
        target = re.search(r"--target-lsn (\d+)", command)
        if target:
            assert there == {n for n, lsn in self.written.items() if lsn <= int(target[1])}
            print(f"({len(there)} batches of {len(self.written)} are there, those up to LSN {target[1]})")
        else:
            assert len(there) < len(self.written), "the snapshot was not restored"
            print(f"({len(there)} batches of {len(self.written)} are there, those of the snapshot)")
        self.written = {number: self.written[number] for number in there}


def main(page: str, place: str, port: str | None = None) -> None:
    if port is None:
        loopback_up()
    walk = Walk(Path(place), int(port) if port else None)
    try:
        for step in steps(Path(page)):
            walk.take(step)
        walk.stop()
    finally:
        if walk.server is not None:
            walk.server.kill()
            walk.server.wait()
    print(f"\nevery command of {page} has passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
