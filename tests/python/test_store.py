"""A directory over its life: closed and opened, read beside a writer, locked, backed up, exported, damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nearfield
import numpy as np
import pytest


def vectors(rows: int, dim: int = 4, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def fill(path: Path, rows: int = 3_000, compact: bool = True) -> None:
    with nearfield.open(path) as database:
        collection = database.create("c", 4, exist_ok=True)
        collection.upsert(vectors(rows), ids=range(rows), metadata={"n": np.arange(rows)})
        if compact:
            collection.compact()


def answers(collection: nearfield.Collection) -> list[Any]:
    hits = collection.search(vectors(5, seed=9), k=20, where={"n": {"lt": 1_000}})
    return [hits.ids.tolist(), hits.scores.tolist(), hits.metadata]


@pytest.mark.parametrize("upkeep", ["none", "checkpoint", "compact"])
def test_everything_is_there_after_reopening(path: Path, upkeep: str) -> None:
    with nearfield.open(path) as database:
        collection = database.create("c", 4)
        collection.upsert(vectors(3_000), ids=range(3_000), metadata={"n": np.arange(3_000)})
        if upkeep != "none":
            getattr(collection, upkeep)()
        collection.delete(range(100, 200))
        collection.upsert(vectors(1, seed=5), ids=["new"], metadata=[{"n": 0}])
        before = answers(collection)
    for mode in ("rw", "r"):
        with nearfield.open(path, mode=mode) as database:  # type: ignore[arg-type]
            assert database.names() == ["c"] and database.mode == mode and database.path is not None
            assert answers(database["c"]) == before and len(database["c"]) == 2_901


def test_ids_are_never_assigned_twice(path: Path) -> None:
    with nearfield.open(path) as database:
        assert database.create("c", 4).upsert(vectors(3)).ids.tolist() == [0, 1, 2]  # type: ignore[union-attr]
        database["c"].delete([2])
        database["c"].compact()
    with nearfield.open(path) as database:
        assert database["c"].upsert(vectors(1)).ids.tolist() == [3]  # type: ignore[union-attr]


def test_a_second_writer_learns_who_holds_the_directory(path: Path) -> None:
    fill(path, 10)
    script = "import nearfield, sys; db = nearfield.open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        with pytest.raises(nearfield.LockedError, match=f"pid {other.pid}") as refused:
            nearfield.open(path)
        assert refused.value.pid == other.pid and str(path) in str(refused.value)
        with nearfield.open(path, mode="r") as reader:
            assert len(reader["c"]) == 10
        other.communicate()
    nearfield.open(path).close()


def test_a_reader_moves_on_when_it_refreshes(path: Path) -> None:
    with nearfield.open(path) as writing:
        collection = writing.create("c", 4)
        collection.upsert(vectors(10), ids=range(10))
        with nearfield.open(path, mode="r") as reading:
            reader = reading["c"]
            lsn = reader.stats()["lsn"]
            collection.upsert(vectors(10), ids=range(10, 20))
            assert len(reader) == 10 and reader.stats()["lsn"] == lsn
            assert reader.refresh() > lsn and len(reader) == 20
            collection.delete(range(15))
            collection.compact()
            reader.refresh()
            assert sorted(reader.search(np.ones(4), k=20).ids.tolist()) == list(range(15, 20))
            writing.create("later", 2)
            assert len(reading["later"]) == 0


def test_a_reader_changes_nothing(path: Path) -> None:
    fill(path, 10)
    with nearfield.open(path, mode="r") as database:
        collection = database["c"]
        changes: list[Any] = [
            lambda: collection.upsert(vectors(1)),
            lambda: collection.delete([1]),
            lambda: collection.delete(where={}),
            collection.compact,
            collection.checkpoint,
            database.snapshot,
            lambda: database.create("d", 2),
            lambda: database.drop("c"),
        ]
        for change in changes:
            with pytest.raises(nearfield.ReadOnlyError):
                change()
        assert len(collection) == 10 and database.names() == ["c"]


def test_what_is_closed_says_so(path: Path) -> None:
    database = nearfield.open(path)
    collection = database.create("c", 4)
    collection.upsert(vectors(3))
    hits, scan = collection.search(np.ones(4)), collection.scan()
    database.close()
    database.close()
    uses: list[Any] = [
        lambda: collection.search(np.ones(4)),
        lambda: collection.upsert(vectors(1)),
        lambda: collection.delete([1]),
        lambda: collection.get([1]),
        collection.count,
        collection.compact,
        collection.stats,
        collection.refresh,
        lambda: len(collection),
        database.names,
        lambda: database["c"],
        database.verify,
    ]
    for use in uses:
        with pytest.raises(nearfield.ClosedError, match="was closed"):
            use()
    assert database.closed and "closed" in repr(database) and "closed" in repr(collection)
    assert "closed" in database._repr_html_() and "closed" in collection._repr_html_()
    assert len(hits.metadata) == 3 and sum(len(batch) for batch in scan) == 3


def test_a_closed_handle_leaves_the_database_open(memory: nearfield.Database) -> None:
    with memory.create("c", 4) as collection:
        collection.upsert(vectors(3))
    with pytest.raises(nearfield.ClosedError, match="handle"):
        len(collection)
    assert len(memory["c"]) == 3


def test_a_forked_child_is_told_and_gives_nothing_up(path: Path) -> None:
    database = nearfield.open(path)
    collection = database.create("c", 4)
    collection.upsert(vectors(3), ids=range(3))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            collection.search(np.ones(4))
        except nearfield.ClosedError as error:
            own = nearfield.open(path, mode="r")
            status = 0 if "fork" in str(error) and len(own["c"]) == 3 else 2
            del database, collection
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(nearfield.LockedError):
        nearfield.open(path)
    assert collection.upsert(vectors(1), ids=[9]).inserted == 1 and len(collection) == 4
    database.close()


def test_an_export_gives_the_same_answers(path: Path, tmp_path: Path) -> None:
    fill(path)
    file = tmp_path / "c.near"
    with nearfield.open(path) as database:
        database["c"].delete(range(50))
        database["c"].upsert(vectors(5, seed=3), ids=["a", "b", "c", "d", "e"], metadata=[{"n": 1}] * 5)
        database.create("other", 2)
        report = database.export(file, collections=["c"])
        expected = answers(database["c"])
        with pytest.raises(nearfield.NotFoundError, match="oter"):
            database.export(file, collections=["oter"])
    assert report.points == 2_955 and report.bytes == file.stat().st_size
    with nearfield.open(file) as exported:
        assert exported.mode == "near" and exported.names() == ["c"] and exported.verify().ok
        assert answers(exported["c"]) == expected
        with pytest.raises(nearfield.ReadOnlyError):
            exported["c"].upsert(vectors(1))


def test_a_snapshot_restores_to_a_directory_of_its_own(path: Path, tmp_path: Path) -> None:
    fill(path)
    with nearfield.open(path) as database:
        database["c"].delete([7])
        report = database.snapshot()
        expected = answers(database["c"])
        database["c"].delete(where={})
    target = tmp_path / "restored"
    nearfield.restore(report.path, to=target)
    with nearfield.open(target) as restored:
        assert answers(restored["c"]) == expected and len(restored["c"]) == 2_999
    with pytest.raises(nearfield.ConflictError, match="empty"):
        nearfield.restore(report.path, to=target)
    with pytest.raises(nearfield.NotFoundError):
        nearfield.restore(tmp_path, to=tmp_path / "x")
    with pytest.raises(nearfield.ParameterError, match="export"), nearfield.open() as memory:
        memory.snapshot()


def test_collections_are_created_found_and_dropped(path: Path) -> None:
    with nearfield.open(path) as database:
        first = database.create("papers", 4)
        assert database.create("papers", 4, exist_ok=True).name == "papers"
        with pytest.raises(nearfield.ConflictError, match="another dim"):
            database.create("papers", 5, exist_ok=True)
        with pytest.raises(nearfield.NotFoundError, match="papers") as unknown:
            database["paper"]
        assert unknown.value.near == ["papers"]
        first.upsert(vectors(5))
        database.drop("papers")
        assert "papers" not in database and len(database) == 0
        with pytest.raises(nearfield.NearfieldError, match="dropped"):
            first.upsert(vectors(1))
        assert len(database.create("papers", 2)) == 0


def segment_files(path: Path) -> list[Path]:
    return sorted(path.glob("c/*/segments/*"))


@pytest.mark.parametrize("where", [0, 8, 100, 0.3, 0.6, 0.9, -1])
@pytest.mark.parametrize("kind", ["segment", "manifest", "log", "database", "export"])
def test_a_damaged_byte_is_found_and_never_believed(path: Path, tmp_path: Path, kind: str, where: float) -> None:
    """Answers are the right ones or CorruptError; a crash or another answer fails. verify() always finds it."""
    fill(path, 2_500, compact=kind != "log")
    with nearfield.open(path, mode="r") as database:
        expected = answers(database["c"])
        if kind == "export":
            database.export(tmp_path / "c.near")
    patterns = {"segment": "c/*/segments/*.seg", "manifest": "c/*/manifest-*", "log": "c/*/wal/*", "database": "database-*"}
    file = tmp_path / "c.near" if kind == "export" else sorted(path.glob(patterns[kind]))[-1]
    content = bytearray(file.read_bytes())
    place = int(where * len(content)) if isinstance(where, float) else where
    content[place] ^= 0x10
    file.write_bytes(content)
    try:
        with nearfield.open(file if kind == "export" else path, mode="r") as database:
            found = answers(database["c"])
    except (nearfield.CorruptError, nearfield.VersionError) as error:
        assert error.file, error
    except nearfield.FilterError:
        # The only batch was the torn end of the log: its fields are gone with it.
        assert kind == "log"
    else:
        # Padding is covered by no checksum, a log's torn end is cut off, derived parts are done without.
        assert found == expected or kind == "log", "another answer"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, tmp_path: Path, share: float) -> None:
    fill(path, 2_500)
    with nearfield.open(path, mode="r") as database:
        database.export(tmp_path / "c.near")
    for file in [segment_files(path)[0], tmp_path / "c.near"]:
        os.truncate(file, int(share * file.stat().st_size))
    with pytest.raises(nearfield.CorruptError) as refused:
        nearfield.open(tmp_path / "c.near")
    assert refused.value.file
    with nearfield.open(path, mode="r") as database:
        with pytest.raises(nearfield.CorruptError, match="seg"):
            len(database["c"])
        report = database.verify()
    assert not report.ok and any("seg" in finding.file for finding in report.findings)


def test_verify_reads_everything(path: Path) -> None:
    fill(path)
    with nearfield.open(path) as database:
        database["c"].upsert(vectors(5))
        report = database.verify()
    assert report.ok and report.collections == 1 and report.files >= 1 and report.log_batches >= 1
    assert report.bytes >= sum(file.stat().st_size for file in segment_files(path))


def test_a_file_of_a_later_format_is_refused_with_both_versions(path: Path, tmp_path: Path) -> None:
    fill(path, 100)
    with nearfield.open(path, mode="r") as database:
        database.export(tmp_path / "c.near")
    content = bytearray((tmp_path / "c.near").read_bytes())
    content[8:12] = (99).to_bytes(4, "little")
    (tmp_path / "c.near").write_bytes(content)
    with pytest.raises(nearfield.VersionError, match="99") as refused:
        nearfield.open(tmp_path / "c.near")
    assert refused.value.got == 99 and refused.value.expected is not None


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.near").write_bytes(b"hello")
    with pytest.raises(nearfield.CorruptError):
        nearfield.open(tmp_path / "x.near")
    with pytest.raises(nearfield.NotFoundError):
        nearfield.open(tmp_path, mode="r")
    with pytest.raises(nearfield.ParameterError, match="memory"):
        nearfield.open(tmp_path, mode="memory")


def test_the_instructions_can_be_forced_and_change_no_bit(path: Path) -> None:
    """One process for each set this machine has; ids and bits of scores are the same."""
    fill(path)
    script = (
        "import nearfield, numpy, sys, json\n"
        "db = nearfield.open(sys.argv[1], mode='r'); q = numpy.random.default_rng(4).standard_normal((20, 4))\n"
        "hits = db['c'].search(q.astype('f4'), k=7)\n"
        "print(json.dumps([db['c'].stats()['instruction_set'], hits.ids.tolist(), hits.scores.tobytes().hex()]))\n"
    )
    results = {}
    for name in ("avx512", "avx2", "neon", "scalar"):
        environment = {**os.environ, "NEARFIELD_KERNEL": name}
        run = subprocess.run([sys.executable, "-c", script, path], env=environment, capture_output=True, text=True)
        if run.returncode != 0:
            assert "NEARFIELD_KERNEL" in run.stderr and name != "scalar", run.stderr
            continue
        used, *rest = json.loads(run.stdout)
        assert used == name
        results[name] = rest
    assert "scalar" in results and all(result == results["scalar"] for result in results.values())


def test_a_copied_directory_is_a_database(path: Path, tmp_path: Path) -> None:
    fill(path, 100)
    shutil.copytree(path, tmp_path / "copy")
    with nearfield.open(tmp_path / "copy") as database:
        assert len(database["c"]) == 100
