"""Every notebook runs from top to bottom and shows what its committed outputs show."""

from __future__ import annotations

from pathlib import Path

import notebook
import pytest

FILES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_outputs_are_those_of_a_fresh_run(file: Path) -> None:
    fresh = notebook.text(notebook.run(file))
    assert fresh == file.read_text(), f"run: python tests/python/notebook.py notebooks/{file.name}"
