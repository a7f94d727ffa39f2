"""Server processes of a measurement: a free port, the cores they may use, their time, their end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpus(text: str) -> set[int]:
    """`0,1` as a set."""
    return {int(cpu) for cpu in text.split(",")}


def start(command: list[str], cores: set[int], output: Path) -> subprocess.Popen[bytes]:
    """Its standard output and error go to the file `output`."""
    with output.open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, cores))


def wait_until(ready: Callable[[], bool], server: subprocess.Popen[bytes], output: Path, seconds: float = 60) -> None:
    """Ends the measurement with what the server printed if it dies or does not get ready."""
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{server.args!r} did not get ready:\n{output.read_text(errors='replace')[-2000:]}")


def stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """One line for the head of a report."""
    model = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{len(model)} x {model[0]}, load {load}, {time.strftime('%F %T')}"
