"""Load by `wrk`, which measures in C and so takes little from the cores beside the server's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("cycle.lua")


@dataclass(frozen=True)
class Load:
    """Answers a second and the latency of each, from sending to the last byte."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    refused: int

    def __str__(self) -> str:
        refused = f", {self.refused} REFUSED" if self.refused else ""
        return f"{self.per_second:,.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms{refused}"


def missing() -> str | None:
    return None if shutil.which("wrk") else "wrk is not installed (Debian: apt install wrk)"


def run(port: int, path: str, bodies: Path, cores: set[int], *, seconds: int, connections: int = 16,
        headers: dict[str, str] | None = None, per_second: float | None = None) -> Load:
    """Sends the lines of `bodies` in turn. `per_second`: with random pauses that make about this rate."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
    for name, value in {"content-type": "application/json", **(headers or {})}.items():
        command += ["-H", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{port}{path}", "--", str(bodies)]
    if per_second is not None:
        command.append(str(connections / per_second * 1e3))
    pinned = subprocess.run(command, capture_output=True, text=True, check=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, cores))
    figures = json.loads(pinned.stdout.strip().splitlines()[-1])
    if figures["broken"]:
        raise SystemExit(f"wrk lost connections: {pinned.stdout}")
    return Load(figures["requests"] / figures["seconds"], figures["p50_ms"], figures["p99_ms"],
                figures["requests"], figures["refused"])
