"""Every command of the runbooks, the one of Vibrato as it stands and ours, passes against a real server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from runbook import Step, difference, filled, steps
from served import ROOT

OURS = ROOT / "docs/runbooks/vibrato.md"
# Beside the checkout, or beside the main work tree of a linked one.
ORIGINALS = [ROOT.parent / "shared/runbooks/vibrato.md", ROOT.parents[1] / "shared/runbooks/vibrato.md"]
TIMEOUT_SECONDS = 900


def original() -> Path | None:
    return next((path for path in ORIGINALS if path.exists()), None)


def network() -> list[str]:
    """The command that gives a process a network of its own; empty where that is not allowed."""
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        try:
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return []


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def walk(page: Path, name: str) -> None:
    place = ROOT / "target/runbook" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    own_network = network()
    port = [] if own_network else [free_port()]
    how = "in a network of its own" if own_network else f"8080 → {port[0]} and 0.0.0.0 → 127.0.0.1: no `unshare --net`"
    print(f"{page}, {how}")
    script = Path(__file__).with_name("walk_runbook.py")
    command = [*own_network, sys.executable, str(script), str(page), str(place), *port]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stderr


# The fixture makes the build part of the set-up, not of the first command's time.
@pytest.mark.usefixtures("binary")
def test_every_command_of_the_original_passes_verbatim() -> None:
    page = original()
    if page is None:
        pytest.skip("the original runbook is not beside this checkout (../shared/runbooks/vibrato.md)")
    assert len(steps(page)) >= 9
    walk(page, "original")


@pytest.mark.usefixtures("binary")
def test_every_command_of_our_page_passes_and_prints_what_it_shows() -> None:
    walk(OURS, "ours")


def test_our_page_has_every_command_of_the_original_verbatim() -> None:
    page = original()
    if page is None:
        pytest.skip("the original runbook is not beside this checkout (../shared/runbooks/vibrato.md)")
    ours = [step.command for step in steps(OURS)]
    theirs = [step.command for step in steps(page)]
    assert [command for command in ours if command in theirs] == theirs


def test_a_page_that_shows_something_else_is_noticed() -> None:
    shown = ("json", '{"data": {"n": 1, "rows": [{"a": "x"}]}}')
    assert difference(shown, '{"data": {"n": 2.5, "rows": []}}') is None
    assert difference(shown, '{"data": {"n": 2, "rows": [{"a": "y"}, {"a": "z"}]}}') is None
    for other in ('{"data": {"n": "2", "rows": []}}', '{"data": {"rows": []}}', '{"data": {"n": 1, "rows": [{"b": 1}]}}'):
        assert difference(shown, other) is not None, other
    assert difference(("text", "one … three\nlast\n"), "zero\none two three\nlast\n") is None
    assert difference(("text", "last\none …\n"), "one two\nlast\n") is not None


def test_placeholders_come_from_earlier_output_or_fail() -> None:
    assert filled("a <token> <b>", {"token": "T", "b": "B"}) == "a T B"
    with pytest.raises(KeyError):
        filled("a <unknown>", {})
    assert Step("cargo run -- key-create \\\n  --x").verb == "key-create"
    assert Step("curl -X POST http://x").verb == "curl"
