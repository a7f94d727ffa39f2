"""File systems in memory that a test mounts, if this process may."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(place: Path, options: str, what: str) -> Iterator[Path]:
    """A tmpfs on the new directory `place`, until the end; skips the test, which needs `what`, without the right."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "nearfield-test", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"no `mount` here, so no {what}")
    if done.returncode != 0:
        pytest.skip(f"may not mount a {what}: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
