"""The unit and the image start what exists: their commands are run here as they stand, only moved elsewhere.

No image is built and no unit is started: that needs a container engine and systemd as process 1.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from served import ROOT, Refused, Server

Start = Callable[..., Server]
PACKAGING = ROOT / "native-server/packaging"
DIRECTORY_AND_ADDRESS = {"--data-dir", "--host", "--port"}


def instructions() -> dict[str, str]:
    """The last instruction of each name in the Dockerfile, with continued lines joined."""
    text = (PACKAGING / "Dockerfile").read_text().replace("\\\n", " ")
    found = re.findall(r"^([A-Z]+)\s+(.*)$", text, re.MULTILINE)
    return dict(found)


def own_arguments(command: list[str]) -> list[str]:
    """What a command passes to serve-v2, without directory and address: those are the test's."""
    verb = command.index("serve-v2")
    pairs = zip(command[verb + 1 :: 2], command[verb + 2 :: 2], strict=True)
    return [word for pair in pairs if pair[0] not in DIRECTORY_AND_ADDRESS for word in pair]


def exec_start() -> list[str]:
    found = re.search(r"^ExecStart=(.*)$", (PACKAGING / "nearfield.service").read_text(), re.MULTILINE)
    assert found
    return shlex.split(found[1])


def test_the_command_of_the_image_starts_and_its_health_check_follows_readiness(start: Start) -> None:
    written = instructions()
    command = [*json.loads(written["ENTRYPOINT"]), *json.loads(written["CMD"])]
    assert command[:2] == ["nearfield", "serve-v2"]
    server = start(*own_arguments(command))
    server.bootstrap_key()
    server.wait_ready()
    check = json.loads(written["HEALTHCHECK"].partition("CMD ")[2])
    here = [word.replace("/8080", f"/{server.port}") for word in check]
    assert here != check
    assert subprocess.run(here, timeout=30).returncode == 0
    assert server.stop() == 0
    assert subprocess.run(here, timeout=30, stderr=subprocess.DEVNULL).returncode != 0


def test_the_image_does_not_run_as_root_and_stops_gracefully() -> None:
    written = instructions()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", written["USER"])
    assert written["STOPSIGNAL"] == "SIGTERM" and written["VOLUME"] == "/data"
    assert "--locked" in written["RUN"] or "--locked" in (PACKAGING / "Dockerfile").read_text()


def test_the_command_of_the_unit_starts_without_a_key_on_loopback(start: Start) -> None:
    command = exec_start()
    assert command[0] == "/usr/bin/nearfield" and command[command.index("--host") + 1] == "127.0.0.1"
    server = start(*own_arguments(command))
    server.wait_ready()
    with server.client() as client, pytest.raises(Refused) as refused:
        client.post("/v2/count")
    assert refused.value.status == 401
    assert server.stop() == 0


def test_systemd_accepts_the_unit_and_finds_it_closed(tmp_path: Path, binary: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "nearfield.service"
    unit.write_text((PACKAGING / "nearfield.service").read_text().replace("/usr/bin/nearfield", str(binary)))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    # On a scale from 0, closed, to 10; in tenths.
    rated = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)]
    assert subprocess.run(rated, capture_output=True, text=True).returncode == 0
