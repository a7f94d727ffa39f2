"""The demo page at /demo/, served by the real server and opened in a real browser.

What the page can do is tested where it is built (wasm/tests/browser); here, that the server serves it so that it works.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from chromium import Browser
from needs import skip_or_fail
from served import ROOT, Server

Start = Callable[..., Server]
PAGE = ROOT / "wasm/dist/demo"
BUILD = "cargo run -p xtask -- wasm && cargo run -p xtask -- demo"


@pytest.fixture
def served(start: Start) -> Server:
    if not (PAGE / "digits.near").exists():
        skip_or_fail(f"no demo page here ({BUILD})")
    return start("--demo-dir", str(PAGE))


def test_the_page_opens_its_sample_by_ranges_and_answers(served: Server, browser: Browser) -> None:
    served.wait_ready()
    browser.open(f"http://127.0.0.1:{served.port}/demo/")
    browser.wait_until("document.querySelectorAll('#hits li').length === 10")
    browser.wait_until("/First answer after/.test(document.querySelector('#first-answer').textContent)")
    assert "Looks like a 3" in browser.text()
    browser.keep("demo")
    assert not browser.complaints, browser.complaints


def test_every_file_the_page_lists_is_served_with_a_type_browsers_run(served: Server) -> None:
    with served.client() as client:
        status, _, listed = client.raw("GET", "/demo/files.json")
        assert status == 200
        kinds = {"js": "text/javascript", "css": "text/css", "wasm": "application/wasm", "html": "text/html"}
        names = [name.strip('", ') for name in listed.decode().splitlines() if "." in name]
        assert "nearfield/index.js" in names and "main.js" in names
        for name in names:
            status, headers, body = client.raw("GET", f"/demo/{name}")
            assert status == 200 and body == (PAGE / name).read_bytes(), name
            expected = kinds.get(name.rsplit(".", 1)[-1], "")
            assert headers["content-type"].startswith(expected), (name, headers["content-type"])


def test_without_the_flag_the_page_says_how_to_get_it(start: Start) -> None:
    server = start()
    with server.client() as client:
        status, _, body = client.raw("GET", "/demo")
    assert status == 404 and b"--demo-dir" in body and b"xtask" in body
