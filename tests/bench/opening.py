"""How long a collection of a file takes from opening to the first answer, with nothing of it in the system's cache.

    python tests/bench/opening.py --dir DIR [--rows 1000000 4000000] [--dim 128] [--log-mib 64] [--repeat 5]

Builds a database for each number of rows (clustered random vectors, one field of metadata; once, it stays in DIR), with
one compacted file and a log of `--log-mib` behind it. Then, `--repeat` times for each in turn: the system's cache is
dropped (root), and a fresh process imports the package, opens, and searches. Prints seconds of opening and of the
first answer, bytes read from the disk until then, and anonymous memory after it, beside that of a process that has
only imported the package; a row of the file counts 1 in "bytes a row", a row of the log does not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BATCH = 1000
K = 10


def vectors(rng, rows, dim):
    centres = rng[0].standard_normal((256, dim), dtype="float32") * 2
    picked = rng[1].integers(0, 256, rows)
    return centres[picked] + rng[1].standard_normal((rows, dim), dtype="float32")


def generators(seed):
    import numpy

    return numpy.random.default_rng(7), numpy.random.default_rng(seed)


def build(path, rows, dim, log_mib):
    """The file first, then rows that stay in the log: reopened by a process that makes no checkpoint."""
    import nearfield

    started = time.monotonic()
    with nearfield.open(path) as database:
        collection = database.create("a", dim=dim, metric="l2", quantization="none")
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            metadata = [{"n": start + n} for n in range(count)]
            batch = vectors(generators(start + 1), count, dim)
            collection.upsert(batch, ids=range(start, start + count), metadata=metadata)
        collection.compact()
    tail = int(log_mib * (1 << 20) / (BATCH * 4 * dim))
    append = "import sys; sys.path[:0] = [sys.argv[1]]; import opening; opening.append(*map(int, sys.argv[3:]), sys.argv[2])"
    arguments = [str(Path(__file__).parent), str(path), str(rows), str(tail), str(dim)]
    subprocess.run([sys.executable, "-c", append, *arguments], check=True)
    print(f"built {rows} rows in {time.monotonic() - started:.0f} s", flush=True)


def append(rows, batches, dim, path):
    """Writes batches and ends without closing, as a killed process does."""
    import nearfield

    collection = nearfield.open(path)["a"]
    for batch in range(batches):
        start = rows + batch * BATCH
        collection.upsert(vectors(generators(start + 1), BATCH, dim), ids=range(start, start + BATCH))
    os._exit(0)


def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def read_bytes():
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def measure(path, dim):
    """One cold opening, in this process; prints a line of JSON."""
    import numpy  # noqa: F401
    import nearfield

    query = vectors(generators(99), 1, dim)[0]
    anonymous, read, started = status("RssAnon"), read_bytes(), time.monotonic()
    collection = nearfield.open(path, mode="r")["a"]
    opened = time.monotonic()
    hits = collection.search(query, k=K)
    answered = time.monotonic()
    assert len(hits) == K
    found = {"open_s": opened - started, "answer_s": answered - started}
    found |= {"read": read_bytes() - read, "anonymous": status("RssAnon") - anonymous}
    print(json.dumps(found))


def drop_caches():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--log-mib", type=float, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(given.measure, given.dim)
    given.dir.mkdir(parents=True, exist_ok=True)
    places = {rows: given.dir / f"rows-{rows}-{given.dim}-{given.log_mib:g}" for rows in given.rows}
    for rows, place in places.items():
        if not place.exists():
            build(place, rows, given.dim, given.log_mib)
    found = {rows: [] for rows in places}
    for _ in range(given.repeat):
        for rows, place in places.items():
            drop_caches()
            command = [sys.executable, __file__, "--dir", str(given.dir), "--dim", str(given.dim)]
            ran = subprocess.run([*command, "--measure", str(place)], capture_output=True, text=True, check=True)
            found[rows].append(json.loads(ran.stdout))
    for rows, runs in found.items():
        def shown(key, scale, digits):
            values = [run[key] / scale for run in runs]
            return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
        print(
            f"{rows} rows: open {shown('open_s', 1, 3)} s, first answer {shown('answer_s', 1, 3)} s, "
            f"read {shown('read', 1 << 20, 0)} MiB, anonymous {shown('anonymous', 1 << 20, 0)} MiB, "
            f"{shown('anonymous', rows, 0)} bytes a row"
        )
    return None


if __name__ == "__main__":
    main()
