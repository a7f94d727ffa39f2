"""The line that ``progress=True`` shows on stderr."""

from __future__ import annotations

import sys
import time

_INTERVAL_S = 0.2


class Bar:
    """Called with how much is done; draws at most five times a second, and at the end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = time.monotonic()
        self._drawn = -1.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._drawn < _INTERVAL_S and done < total:
            return
        self._drawn = now
        elapsed = now - self._begun
        left = elapsed * (total - done) / done if done else 0.0
        share = done / total if total else 1.0
        bar = "#" * int(24 * share)
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r{self._what} [{bar:<24}] {done:,}/{total:,}, {elapsed:.1f} s, {left:.1f} s left {end}")
        sys.stderr.flush()
