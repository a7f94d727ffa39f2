"""The package as such: what importing it costs in modules, what it exports, what it says of itself."""

from __future__ import annotations

import re
import subprocess
import sys

import nearfield
from nearfield import errors


def test_importing_brings_in_little_beyond_numpy() -> None:
    """Modules, not milliseconds: a figure that does not depend on the machine."""
    script = (
        "import sys, numpy; before = set(sys.modules); import nearfield\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('nearfield')))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    heavy = {"asyncio", "pandas", "pyarrow", "scipy", "requests", "typing_extensions", "multiprocessing", "IPython"}
    imported = set(output.split())
    assert len(imported) <= 20 and not heavy & {name.partition(".")[0] for name in imported}, imported


def test_the_package_says_what_it_is() -> None:
    info = nearfield.info()
    assert info["version"] == nearfield.__version__ and re.fullmatch(r"\d+\.\d+\.\d+.*", info["version"])
    assert info["instruction_set"] in ("avx512", "avx2", "neon", "scalar") and info["threads"] >= 1
    assert info["oldest_readable_format"] <= info["format"]


def test_every_public_name_has_a_page() -> None:
    for name in nearfield.__all__:
        if name == "__version__" or name == "Id":
            continue
        assert getattr(nearfield, name).__doc__, name
    for kind in (nearfield.Database, nearfield.Collection, nearfield.Hits):
        bare = [name for name, value in vars(kind).items() if not name.startswith("_") and not value.__doc__]
        assert not bare, (kind, bare)


def test_errors_are_of_one_family_and_of_the_usual_kinds() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    kinds = [each.kind for each in classes if each is not nearfield.StorageError]  # type: ignore[attr-defined]
    assert all(issubclass(each, nearfield.NearfieldError) for each in classes) and len(set(kinds)) == len(kinds)
    for name in ("Dimension", "NonFinite", "DuplicateId", "Id", "Filter", "Metadata", "Parameter"):
        assert issubclass(getattr(nearfield, f"{name}Error"), ValueError)
    assert issubclass(nearfield.NotFoundError, LookupError) and issubclass(nearfield.StorageFullError, OSError)
    error = nearfield.StorageFullError("disk", file="x")
    assert str(error) == "disk" and error.file == "x" and error.errno is not None
    assert {each.__name__ for each in classes} <= set(nearfield.__all__)


def test_nothing_is_printed_by_importing_and_using() -> None:
    script = "import nearfield; c = nearfield.open().create('a', 2); c.upsert([[1, 2]]); c.compact(); c.search([1, 2])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "" and run.stderr == ""
