"""Fixtures shared by the tests of the wheel. What is tested is the installed package, never the source tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import nearfield
import numpy as np
import pytest

# The database does IO: a slow disk is no failure. The seed of a failure is printed with it.
hypothesis.settings.register_profile("ci", deadline=None, max_examples=60, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("NEARFIELD_TEST_PROFILE", "ci"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260401)


@pytest.fixture
def memory() -> Iterator[nearfield.Database]:
    with nearfield.open(mode="memory") as database:
        yield database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"
