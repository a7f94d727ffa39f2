"""What a server makes of its data directory: rights of files, foreign files, lost documents, odd places."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mounts import mounted
from served import PATIENCE_SECONDS, Server

Start = Callable[..., Server]
COLLECTION = ["--collection", "c", "--dim", "4"]
POINT = {"vectors": [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}]}


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("*")}


def contents(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def refused(binary: Path, data_dir: Path) -> str:
    """What a server says that does not start."""
    command = [str(binary), "serve-v2", "--data-dir", str(data_dir), "--port", "0", *COLLECTION]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert ended.returncode != 0, ended.stdout
    return ended.stdout + ended.stderr


def filled(start: Start) -> tuple[Server, str]:
    """A server with a point in a file and in a snapshot, and its key."""
    server = start(*COLLECTION, "--bootstrap-admin-key", "true")
    token = server.bootstrap_key()
    server.wait_ready()
    with server.client(token) as client:
        client.post("/v2/vectors/batch", POINT)
        client.post("/v2/admin/checkpoint")
        client.post("/v2/admin/snapshot")
    return server, token


def test_files_are_for_their_owner_alone_whatever_the_umask(start: Start, data_dir: Path) -> None:
    before = os.umask(0)
    try:
        server, _ = filled(start)
    finally:
        os.umask(before)
    found = modes(data_dir)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert any(name.endswith(".seg") for name in found)
    wrong = {name: oct(mode) for name, mode in found.items() if mode & 0o077}
    assert wrong == {}
    server.stop()


def test_a_directory_that_is_open_to_others_is_named_in_the_log(start: Start, data_dir: Path) -> None:
    data_dir.mkdir()
    data_dir.chmod(0o755)
    server = start(*COLLECTION)
    server.wait_ready()
    server.wait_for(r"open to other users")
    server.stop()


def test_a_foreign_directory_is_refused_and_left_as_it_is(binary: Path, data_dir: Path) -> None:
    (data_dir / "photos").mkdir(parents=True)
    (data_dir / "photos" / ".tmp-edit.psd").write_bytes(b"mine")
    (data_dir / "notes.txt").write_bytes(b"mine")
    before = contents(data_dir)
    said = refused(binary, data_dir)
    assert "notes.txt" in said
    assert contents(data_dir) == before


def test_a_lost_document_keeps_the_server_from_starting_and_loses_nothing(
    binary: Path, start: Start, data_dir: Path
) -> None:
    server, token = filled(start)
    server.stop()
    documents = {path: path.read_bytes() for path in data_dir.glob("database-*")}
    assert documents
    for path in documents:
        path.unlink()
    before = contents(data_dir / "c")
    said = refused(binary, data_dir)
    assert "document" in said
    assert contents(data_dir / "c") == before
    for path, text in documents.items():
        path.write_bytes(text)
    server = start(*COLLECTION)
    server.wait_ready()
    with server.client(token) as client:
        found = client.post("/v2/points/get", {"ids": [1]})["points"]
        assert [point["id"] for point in found] == [1]
    server.stop()


@pytest.mark.parametrize("place", ["file", "link to nothing", "without a parent"])
def test_odd_places_are_refused_in_words(binary: Path, tmp_path: Path, place: str) -> None:
    target = tmp_path / "odd"
    if place == "file":
        target.write_bytes(b"mine")
    elif place == "link to nothing":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target = tmp_path / "missing" / "odd"
    said = refused(binary, target)
    assert str(target) in said
    assert "panicked" not in said
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "missing").exists()


def test_a_read_only_directory_is_refused_in_words(binary: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "read-only", "size=1m,ro", "read-only file system") as place:
        said = refused(binary, place)
        assert "ead-only" in said
        assert "panicked" not in said
