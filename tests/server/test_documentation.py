"""The code blocks of README.md and docs/ run as they stand, in order, one page at a time (blocks.py says how)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from blocks import PACKAGE, RUN, Block, Place, blocks
from needs import skip_or_fail
from served import ROOT

PAGES = [Path("README.md"), *sorted(page.relative_to(ROOT) for page in (ROOT / "docs").rglob("*.md"))]
# Pages whose blocks other tests run, in surroundings that those pages need.
RUN_ELSEWHERE = {
    "docs/browser.md": "wasm/tests/manual.test.mjs",
    "docs/browser-ranges.md": "wasm/tests/manual.test.mjs",
    "docs/runbooks/vibrato.md": "tests/server/test_runbook.py",
}


def read(page: Path) -> list[Block]:
    return blocks(page, (ROOT / page).read_text())


def runs(page: Path) -> bool:
    """True if this test runs blocks of the page."""
    fence = re.compile(rf"^```({'|'.join(RUN)})$", re.MULTILINE)
    return str(page) not in RUN_ELSEWHERE and fence.search((ROOT / page).read_text()) is not None


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=str)
def test_the_blocks_of_a_page_run(
    page: Path, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = [block for block in read(page) if block.reason is None]
    languages = {block.language for block in run}
    if "python" in languages:
        pytest.importorskip("nearfield", reason="the wheel is not installed in this environment")
    if "js" in languages and not (shutil.which("node") and (PACKAGE / "index.js").exists()):
        skip_or_fail("no Node, or the browser package is not built (cargo run -p xtask -- wasm)")
    directory = tmp_path / "page"
    directory.mkdir()
    monkeypatch.chdir(directory)
    place = Place(directory, binary)
    try:
        for block in run:
            place.take(block)
    finally:
        place.close()


def test_every_block_of_every_page_has_a_language() -> None:
    for page in PAGES:
        read(page)


def test_pages_that_run_elsewhere_are_named_there() -> None:
    for page, runner in RUN_ELSEWHERE.items():
        assert page in (ROOT / runner).read_text(), f"{runner} does not name {page}"


@pytest.mark.parametrize(
    "text",
    ["```\nx\n```\n", "```ruby\nx\n```\n", "```python not-run:\nx\n```\n", "```python\nx\n", "a\n\n    indented\n"],
)
def test_a_block_without_language_reason_or_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="page.md:"):
        blocks(Path("page.md"), text)


@pytest.mark.parametrize(
    "text",
    [
        "```python\n1 + 1  # → 3\n```\n",
        "```python\nassert False\n```\n",
        "```bash\nfalse\n```\n",
        "```bash\ncurl http://127.0.0.1:8080/\n```\n",
        "```bash\necho a\n```\n\n```text\nb\n```\n",
        "```json\n{\n```\n",
    ],
)
def test_a_block_that_does_something_else_is_noticed(text: str, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    place = Place(tmp_path / "page", Path("/bin/false"))
    try:
        with pytest.raises((AssertionError, ValueError)):
            for block in blocks(Path("page.md"), text):
                place.take(block)
    finally:
        place.close()


def test_blocks_of_a_page_share_names_and_shell(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    page = (
        "```python\nx = 2\nx * 2  # → 4\n[x] * 50  # → [2, …, 2]\nprint(x)\n```\n\n```text\n2\n```\n"
        "```python\nx  # → 2\n```\n```bash\ny=3\n```\n```bash\necho $y\n```\n```text\n3\n```\n"
        "```bash\necho '{\"a_ms\": 1, \"b\": 2}'\n```\n```json\n{\"a_ms\": 5, \"b\": 2}\n```\n"
    )
    place = Place(tmp_path / "page", Path("/bin/false"))
    try:
        for block in blocks(Path("page.md"), page):
            place.take(block)
    finally:
        place.close()
