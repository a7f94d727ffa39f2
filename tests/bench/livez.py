"""How long `/livez` takes while a server is attacked: p50 and p99 for each attack.

    python tests/bench/livez.py --binary target/release/nearfield [--rows 50000] [--probes 200]

Each attack is what one client with a `query` key can do: filters of 10 kB over texts, 16 exact searches of 1,000
vectors, four bodies of 32 MB. It goes on until all probes are answered. A probe is a connection of its own.
Standard library only; the server is started on a directory of its own and stopped again.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from process import machine

DIM = 8
TEXT = "x" * 400


class Target:
    """A server on a free port, with one key. `limit` is called in its process before the program begins."""

    def __init__(
        self, binary: str, data_dir: Path, rows: int, flags: Sequence[str] = (), limit: Callable[[], None] | None = None
    ) -> None:
        made = subprocess.run(
            [binary, "key-create", "--data-dir", data_dir, "--name", "bench", "--roles", "query,ingest,admin"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = re.search(r"nfk_[0-9a-f]{16}\.[0-9a-f]{64}", made.stdout)
        assert found, made.stdout
        self.token = found[0]
        command = [binary, "serve-v2", "--data-dir", str(data_dir), "--port", "0", "--collection", "c"]
        command += ["--dim", str(DIM), *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=limit
        )
        assert self.process.stdout
        listening = re.search(r":(\d+)\s*$", self.process.stdout.readline())
        assert listening
        self.port = int(listening[1])
        while self.request("GET", "/readyz")[0] != 200:
            time.sleep(0.02)
        for first in range(0, rows, 5_000):
            self.fill(first, min(first + 5_000, rows))

    def fill(self, first: int, end: int) -> None:
        points = [{"id": n, "vector": [float(n % 97)] * DIM, "metadata": {"text": TEXT + str(n)}} for n in range(first, end)]
        body = json.dumps({"vectors": points}).encode()
        while (status := self.request("POST", "/v2/vectors/batch", body)[0]) != 201:
            assert status == 429, status
            time.sleep(0.05)

    def request(self, method: str, path: str, body: bytes | None = None, timeout: float = 120) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def filters() -> bytes:
    leaves = [{"text": {"lt": f"a{n}"}} for n in range(500)]
    return json.dumps({"filter": {"or": leaves}}).encode()


def searches() -> bytes:
    return json.dumps({"vectors": [[1.0] * DIM] * 1_000, "exact": True, "k": 10}).encode()


def bodies() -> bytes:
    return b'{"vector":[' + b"0.12345678," * 2_900_000 + b"1]}"


ATTACKS: dict[str, tuple[int, str, Callable[[], bytes]]] = {
    "nothing": (0, "", bytes),
    "3 filters of 10 kB": (3, "/v2/count", filters),
    "16 exact searches": (16, "/v2/query", searches),
    "4 bodies of 32 MB": (4, "/v2/query", bodies),
}


@contextmanager
def attacked(target: Target, threads: int, path: str, body: bytes) -> Iterator[None]:
    over = threading.Event()

    def attack() -> None:
        while not over.is_set():
            try:
                # Disconnects while the request is worked on: the cheapest attack.
                target.request("POST", path, body, timeout=2)
            except OSError:
                pass

    attackers = [threading.Thread(target=attack) for _ in range(threads)]
    for attacker in attackers:
        attacker.start()
    try:
        yield
    finally:
        over.set()
        for attacker in attackers:
            attacker.join()


def probe(target: Target) -> float:
    """Milliseconds; infinite without an answer within 30 s."""
    begun = time.perf_counter()
    try:
        status, _ = target.request("GET", "/livez", timeout=30)
    except OSError:
        return float("inf")
    assert status == 200, status
    return (time.perf_counter() - begun) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/nearfield")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--probes", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{arguments.rows:,} rows, {arguments.probes} probes; {machine()}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        target = Target(arguments.binary, Path(place) / "data", arguments.rows)
        try:
            for name, (threads, path, body) in ATTACKS.items():
                with attacked(target, threads, path, body()):
                    time.sleep(1 if threads else 0)
                    taken = sorted(probe(target) for _ in range(arguments.probes))
                p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
                print(f"{name:20} /livez p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   max {taken[-1]:8.1f} ms", flush=True)
        finally:
            target.stop()


if __name__ == "__main__":
    main()
