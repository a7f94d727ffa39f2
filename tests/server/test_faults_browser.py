"""The status page on a telephone and before a key is entered; `.near` files that the server exports."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chromium import Browser
from needs import skip_or_fail
from served import ROOT, Server
from status_page import enter

Start = Callable[..., Server]


def serve(start: Start) -> tuple[Server, str]:
    server = start("--collection", "birds", "--dim", "4", "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        rows = [{"vector": [float(n % 7), 1.0, float(n % 11), 3.0], "metadata": {"n": n}} for n in range(300)]
        client.post("/v2/vectors/batch", {"vectors": rows})
        client.post("/v2/admin/checkpoint")
    return server, token


def test_the_page_has_a_main_part_before_a_key_is_entered(browser: Browser, start: Start) -> None:
    server, _ = serve(start)
    browser.open(f"http://127.0.0.1:{server.port}/ui")
    browser.wait_until("document.querySelector('#door') && !document.querySelector('#door').hidden")
    assert browser.evaluate("document.querySelector('main')?.checkVisibility() ?? false")
    assert browser.evaluate("document.querySelector('main').contains(document.querySelector('#door'))")


def test_the_page_shows_rates_and_latencies(browser: Browser, start: Start) -> None:
    server, token = serve(start)
    browser.open(f"http://127.0.0.1:{server.port}/ui", width=1280, height=800)
    enter(browser, token)
    browser.wait_until("/birds/.test(document.body.innerText)")
    shown = "document.body.innerText.match(/query time, p99\\s+([≤>] \\S+ (µs|ms|s))/)"
    with server.client(token) as client:
        # Until a refresh of the page has seen some of them.
        for _ in range(600):
            client.post("/v2/query", {"vector": [1.0, 1.0, 2.0, 3.0], "k": 3})
            if browser.evaluate(f"{shown} !== null"):
                break
        browser.wait_until(f"{shown} !== null")
    browser.keep("ui-activity")
    assert browser.evaluate("Number(document.body.innerText.match(/queries\\s+([\\d.,]+) \\/ s/)[1].replace(',', '')) > 0")
    assert not browser.complaints, browser.complaints


def test_no_table_is_cut_on_a_telephone(browser: Browser, start: Start) -> None:
    server, token = serve(start)
    browser.open(f"http://127.0.0.1:{server.port}/ui", width=390, height=844)
    enter(browser, token)
    browser.wait_until("document.querySelectorAll('#collections td').length > 0")
    browser.keep("ui-phone")
    cut = """[...document.querySelectorAll('#collections, #jobs')].filter(e => e.scrollWidth > e.clientWidth).length"""
    assert browser.evaluate(cut) == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


ASK = """import { readFileSync } from 'node:fs';
const { open } = await import(process.argv[1]);
const snapshot = await open(readFileSync(process.argv[2]));
const points = snapshot.collection('birds');
const hits = await points.search(JSON.parse(process.argv[3]), { k: 20, mode: 'exact', where: { n: { lt: 200 } }, include: ['metadata'] });
console.log(JSON.stringify({ size: points.size, hits: hits.map(({ id, score, metadata }) => [id, score, metadata]) }));
"""
QUERY = [1.0, 1.0, 2.0, 3.0]


def in_node(file: Path) -> Any:
    package = ROOT / "wasm/dist/index.js"
    if shutil.which("node") is None or not package.exists():
        skip_or_fail(f"no node or no {package} (cargo run -p xtask -- wasm)")
    command = ["node", "--input-type=module", "-e", ASK, str(package), str(file), json.dumps(QUERY)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def served_answers(server: Server, token: str) -> list[list[Any]]:
    asked = {"vector": QUERY, "k": 20, "exact": True, "filter": {"n": {"lt": 200}}, "include_metadata": True}
    with server.client(token) as client:
        results = client.post("/v2/collections/birds/query", asked)["results"]
    return [[hit["id"], hit["score"], hit["metadata"]] for hit in results]


def rounded(hits: list[list[Any]]) -> list[list[Any]]:
    """Scores as the 32-bit floats they are, whatever digits were printed."""
    return [[point, struct.unpack("f", struct.pack("f", score))[0], metadata] for point, score, metadata in hits]


def test_a_near_file_over_http_answers_in_node_as_the_server_does(start: Start, tmp_path: Path) -> None:
    server, token = serve(start)
    # Some rows are dead in a file, some are in memory only.
    with server.client(token) as client:
        client.post("/v2/points/delete", {"ids": [1, 8, 15]})
        client.post("/v2/vectors", {"vector": QUERY, "metadata": {"n": 5}})
        before = {path.name for path in server.data_dir.rglob("*")}
        status, headers, body = client.raw("GET", "/v2/collections/birds/export.near")
        assert status == 200, body[:200]
        assert headers["content-type"] == "application/octet-stream"
        after = {path.name for path in server.data_dir.rglob("*")}
        assert after <= before | {name for name in after if name.endswith((".log", "-wal", "-shm"))}
    file = tmp_path / "birds.near"
    file.write_bytes(body)
    found = in_node(file)
    assert found["size"] == 298
    expected = rounded(served_answers(server, token))
    assert rounded(found["hits"]) == expected, (found["hits"][:3], expected[:3])


def test_a_near_file_wants_a_key_and_a_collection_that_is_there(start: Start) -> None:
    server, token = serve(start)
    with server.client() as client:
        assert client.raw("GET", "/v2/collections/birds/export.near")[0] == 401
    with server.client(token) as client:
        assert client.raw("GET", "/v2/collections/herons/export.near")[0] == 404
        assert client.raw("GET", "/v2/export.near")[0] == 200


def test_the_command_line_exports_a_near_file_from_a_server(start: Start, binary: Path, tmp_path: Path) -> None:
    server, token = serve(start)
    file = tmp_path / "birds.near"
    url = f"http://127.0.0.1:{server.port}"
    command = [str(binary), "export", "--server", url, "--key", token, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["points"] == 300 and report["bytes"] == file.stat().st_size
    assert rounded(in_node(file)["hits"]) == rounded(served_answers(server, token))
    with server.client(token) as client:
        client.post("/v2/collections", {"name": "herons", "dim": 4})
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode != 0 and "one --collection" in refused.stderr, refused.stderr
    assert file.stat().st_size == report["bytes"]
    assert [path.name for path in tmp_path.iterdir() if "near" in path.name] == ["birds.near"]
