"""What memory a server takes while it is attacked, against its budget, and whether another client is served.

    python tests/bench/memory.py --binary target/release/nearfield [--rows 50000] [--seconds 10]

The server has a budget of 256 MiB and runs in a memory group of 1 GiB (control groups of version 1 or 2), or under a
limit of its address space where no group can be made; the first line says which. After the attacks of `livez.py` come
four clients that write long batches, a compaction, and 40 readers that leave long answers unread. For each attack the
line shows the peak of RssAnon, the peak of RssAnon less the segments of files, the share of the budget that this is, and
what became of one query and one write after the other of another client. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from livez import ATTACKS, DIM, Target, attacked
from process import machine

MIB = 1 << 20
BUDGET = 256 * MIB
GROUP_BYTES = 1 << 30
ADDRESS_SPACE_BYTES = 4 << 30


def memory_group() -> tuple[Path, str] | None:
    """A place for a group, and the file with its limit."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        for root, file, ours in (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory" in controllers.split(",")),
            ("/sys/fs/cgroup", "memory.max", number == "0" and not controllers),
        ):
            for group in (Path(root + path), Path(root)):
                if ours and (group / "cgroup.procs").exists():
                    return group, file
    return None


@contextmanager
def limited() -> Iterator[tuple[str, Callable[[], None]]]:
    """In words, and what a process calls to be under the limit."""
    place = memory_group()
    if place is not None:
        around, file = place
        group = around / f"nearfield-bench-{os.getpid()}"
        try:
            group.mkdir()
            (group / file).write_text(str(GROUP_BYTES))
        except OSError:
            if group.is_dir():
                group.rmdir()
        else:
            try:
                yield f"{file} {GROUP_BYTES // MIB} MiB", lambda: write(group / "cgroup.procs", str(os.getpid()))
            finally:
                remove(group)
            return
    limits = (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES)
    yield f"RLIMIT_AS {ADDRESS_SPACE_BYTES // MIB} MiB", lambda: resource.setrlimit(resource.RLIMIT_AS, limits)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(group: Path) -> None:
    """The process that was in it has ended; the system notices a moment later."""
    for _ in range(50):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.1)


class Watch:
    """Peaks of memory, and the answers of another client, until it is closed."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.process_bytes = 0
        self.beside_bytes = 0
        self.resident_bytes = 0
        self.answers: Counter[str] = Counter()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.measure), threading.Thread(target=self.ask)]
        for thread in self.threads:
            thread.start()

    def measure(self) -> None:
        while not self.over.is_set():
            try:
                text = self.target.request("GET", "/v2/metrics")[1].decode()
            except OSError:
                continue
            found = re.search(r"^nearfield_resident_segment_bytes (\S+)$", text, re.MULTILINE)
            self.resident_bytes = int(float(found[1])) if found else 0
            status = Path(f"/proc/{self.target.process.pid}/status").read_text()
            anonymous = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
            assert anonymous, "the server has ended"
            process = int(anonymous[1]) << 10
            self.process_bytes = max(self.process_bytes, process)
            self.beside_bytes = max(self.beside_bytes, process - self.resident_bytes)
            self.over.wait(0.02)

    def ask(self) -> None:
        query = json.dumps({"vector": [1.0] * DIM}).encode()
        point = json.dumps({"id": 1, "vector": [1.0] * DIM}).encode()
        while not self.over.is_set():
            for what, path, body in (("query", "/v2/query", query), ("write", "/v2/vectors", point)):
                try:
                    self.answers[f"{what} {self.target.request('POST', path, body, timeout=30)[0]}"] += 1
                except OSError:
                    self.answers[f"{what} none"] += 1
            self.over.wait(0.05)

    def close(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def batches() -> bytes:
    row = {"vector": [0.5] * DIM, "metadata": {"text": "x" * 2_000}}
    return json.dumps({"vectors": [row] * 2_000}).encode()


@contextmanager
def unread(target: Target) -> Iterator[None]:
    """Pages of 10,000 points that are asked for and not read."""
    body = json.dumps({"limit": 10_000, "include_vector": True}).encode()
    head = (
        f"POST /v2/points/get HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nauthorization: Bearer {target.token}\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", target.port), 30))
            connection.sendall(head.encode() + body)
        yield


@contextmanager
def compacted(target: Target) -> Iterator[None]:
    compaction = threading.Thread(target=target.request, args=("POST", "/v2/admin/compact", b"{}"))
    compaction.start()
    yield
    compaction.join()


def attacks(target: Target) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    for name, (threads, path, body) in ATTACKS.items():
        yield name, attacked(target, threads, path, body())
    yield "4 writers of 4 MB", attacked(target, 4, "/v2/vectors/batch", batches())
    yield "a compaction", compacted(target)
    yield "40 unread answers", unread(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/nearfield")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    flags = ["--memory-budget-bytes", str(BUDGET), "--checkpoint-interval-secs", "2", "--compaction-interval-secs", "2"]
    with tempfile.TemporaryDirectory() as place, limited() as (limit, enter):
        print(f"{arguments.rows:,} rows, budget {BUDGET // MIB} MiB, {limit}; {machine()}", flush=True)
        target = Target(arguments.binary, Path(place) / "data", arguments.rows, flags, enter)
        try:
            for name, attack in attacks(target):
                watch = Watch(target)
                try:
                    with attack:
                        time.sleep(arguments.seconds)
                finally:
                    watch.close()
                assert target.process.poll() is None, f"the server has ended with {target.process.returncode}"
                share = 100 * watch.beside_bytes / BUDGET
                print(
                    f"{name:20} RssAnon {watch.process_bytes // MIB:5} MiB   segments {watch.resident_bytes // MIB:4} MiB"
                    f"   beside them {watch.beside_bytes // MIB:4} MiB, {share:3.0f} % of the budget   "
                    + ", ".join(f"{what}: {count}" for what, count in sorted(watch.answers.items())),
                    flush=True,
                )
        finally:
            target.stop()


if __name__ == "__main__":
    main()
