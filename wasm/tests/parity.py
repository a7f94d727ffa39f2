"""What Python answers, for the parity test: a `.near` with its queries and the answers with their bits.

    python parity.py DIRECTORY small              random data made here: all metrics, f16, every kind of id
    python parity.py DIRECTORY bench NAME DATA    a data set of the benchmarks

Writes `<case>.near`, `<case>.queries` (f32, little-endian) and `<case>.json` for each case. Of each query
the ids and the scores (as f32 bits) of the ten nearest are kept, plain and under each filter.
"""

import json
import sys
import uuid
from pathlib import Path

import nearfield
import numpy as np

FILTERS = [None, {"price": {"lt": 30}}, {"and": [{"part": {"in": ["a", "c"]}}, {"not": {"price": {"gte": 90}}}]}]


def ids(count):
    kinds = [lambda i: i, lambda i: f"näme {i}", lambda i: uuid.UUID(int=i << 70 | 5), lambda i: 2**63 + i]
    return [kinds[i % 4](i) for i in range(count)]


def name_of(identifier):
    """An id as text, the same in JavaScript: a number and the string of its digits differ."""
    is_number = isinstance(identifier, (int, np.integer))
    return f"{int(identifier)}" if is_number else f"'{identifier}'"


def answers(collection, queries, where, exact):
    hits = collection.search(queries, k=10, where=where, exact=exact)
    found = []
    for row in range(len(queries)):
        scores = np.asarray(hits[row].scores, dtype=np.float32).view(np.uint32)
        found.append([[name_of(i) for i in hits[row].ids], [int(bits) for bits in scores]])
    return found


def write(directory, case, base, queries, metric, store="f32", point_ids=None):
    count, dim = base.shape
    metadata = {"price": np.arange(count) * 37 % 100, "part": ["abc"[i % 3] for i in range(count)]}
    with nearfield.open(str(directory / case)) as db:
        points = db.create("points", dim=dim, metric=metric, store=store)
        points.upsert(base, ids=point_ids, metadata=metadata)
        points.compact()
        # A second segment, and dead rows in the first.
        points.upsert(base[:50] * np.float32(0.5), ids=None if point_ids is None else point_ids[:50])
        points.delete(where={"price": 7})
        db.export(str(directory / f"{case}.near"))
    queries = np.ascontiguousarray(queries, dtype="<f4")
    queries.tofile(directory / f"{case}.queries")
    with nearfield.open(str(directory / f"{case}.near")) as db:
        points = db.collection("points")
        asked = [
            {"where": where, "exact": exact, "answers": answers(points, queries, where, exact)}
            for where in FILTERS
            for exact in ([False, True] if count < 20_000 else [False])
        ]
    text = json.dumps({"dim": dim, "queries": len(queries), "asked": asked})
    (directory / f"{case}.json").write_text(text)


def small(directory):
    random = np.random.default_rng(4)
    for metric, store in [("cosine", "f32"), ("dot", "f16"), ("l2", "f32")]:
        base = random.standard_normal((1500, 37), dtype=np.float32)
        base[100:110] = base[0]
        queries = random.standard_normal((50, 37), dtype=np.float32)
        write(directory, f"small-{metric}-{store}", base, queries, metric, store, ids(len(base)))


def bench(directory, name, data):
    if name == "random-f32":
        random = np.random.default_rng(5)
        base = random.standard_normal((10_000, 96), dtype=np.float32)
        queries, metric = random.standard_normal((1000, 96), dtype=np.float32), "cosine"
    else:
        folder = Path(data) / name
        base, queries = (np.load(folder / f"{part}.npy").astype(np.float32) for part in ("base", "query"))
        metric = {"cos": "cosine"}.get(json.loads((folder / "meta.json").read_text())["metric"], "l2")
    write(directory, name, base, queries[:1000], metric)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    small(target) if sys.argv[2] == "small" else bench(target, *sys.argv[3:5])
