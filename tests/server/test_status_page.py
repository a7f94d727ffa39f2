"""The page at /ui in a real browser: a person enters a key and reads how the server is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chromium import Browser
from served import Server
from status_page import enter

Start = Callable[..., Server]


@pytest.fixture
def served(start: Start) -> tuple[Server, str]:
    server = start("--collection", "birds", "--dim", "4", "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        rows = [{"vector": [float(n), 1.0, 2.0, 3.0]} for n in range(1234)]
        client.post("/v2/vectors/batch", {"vectors": rows})
        client.post("/v2/admin/checkpoint")
    return server, token


def test_with_a_key_the_page_shows_readiness_collections_and_jobs(
    browser: Browser, served: tuple[Server, str]
) -> None:
    server, token = served
    browser.open(f"http://127.0.0.1:{server.port}/ui")
    assert "birds" not in browser.text()
    browser.keep("ui-before")
    enter(browser, token)
    browser.wait_until("/birds/.test(document.body.innerText)")
    browser.wait_until("/checkpoint/i.test(document.body.innerText)")
    said = browser.text()
    browser.keep("ui")
    assert "ready" in said.lower() and "completed" in said.lower(), said
    assert any(number in said for number in ("1234", "1,234", "1 234", "1\u202f234")), said
    assert token.split(".")[1] not in said
    assert not browser.complaints, browser.complaints


def test_a_wrong_key_is_said_in_words(browser: Browser, served: tuple[Server, str]) -> None:
    server, _ = served
    browser.open(f"http://127.0.0.1:{server.port}/ui")
    enter(browser, "nfk_0123456789abcdef." + "0" * 64)
    browser.wait_until("/key|unauthori/i.test(document.body.innerText)")
    assert "birds" not in browser.text()


def test_the_page_fits_a_narrow_screen_and_follows_new_rows(
    browser: Browser, served: tuple[Server, str]
) -> None:
    server, token = served
    browser.open(f"http://127.0.0.1:{server.port}/ui", width=360, height=740)
    enter(browser, token)
    browser.wait_until("/birds/.test(document.body.innerText)")
    browser.keep("ui-narrow")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    with server.client(token) as client:
        client.post("/v2/collections", {"name": "herons", "dim": 4})
    browser.wait_until("/herons/.test(document.body.innerText)")


def test_it_is_one_file_that_asks_nobody_else(served: tuple[Server, str]) -> None:
    server, _ = served
    with server.client() as client:
        status, headers, page = client.raw("GET", "/ui")
    assert status == 200 and headers["content-type"].startswith("text/html")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy, policy
    assert b"https://" not in page and b'src="http' not in page
