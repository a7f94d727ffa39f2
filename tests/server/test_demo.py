"""The three curl lines that the demo prints work when they are pasted, and the demo ends by itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from served import PATIENCE_SECONDS, environment, run

SMALL = ["demo", "--rows", "3000"]


def curl_lines(printed: str) -> list[str]:
    return re.findall(r"^\s*(curl .*)$", printed, re.MULTILINE)


def test_the_lines_work_while_the_demo_serves(binary: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    demo = subprocess.Popen(
        [binary, *SMALL, "--serve"], cwd=tmp_path, text=True, env=environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    bounded = threading.Timer(PATIENCE_SECONDS, demo.kill)
    bounded.start()
    try:
        assert demo.stdout is not None
        printed = ""
        for line in demo.stdout:
            printed += line
            if "Enter" in line:
                break
        lines = curl_lines(printed)
        assert len(lines) == 3, printed
        for line in lines:
            pasted = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
            assert pasted.returncode == 0, pasted
            assert "data" in json.loads(pasted.stdout), (line, pasted.stdout)
        rest, _ = demo.communicate("\n", timeout=PATIENCE_SECONDS)
        assert demo.returncode == 0 and "Done" in rest, rest
    finally:
        bounded.cancel()
        demo.kill()
        demo.wait()


def test_nobody_at_a_terminal_is_not_waited_for(binary: Path) -> None:
    printed = run(binary, *SMALL)
    assert len(curl_lines(printed)) == 3 and "Done" in printed
