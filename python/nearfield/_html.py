"""How things look in a notebook: small tables, without scripts or styles from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._nearfield import Collection, Database, Hits

_ROWS_MAX = 20
_QUERIES_MAX = 5
_TEXT_MAX = 120


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = ("".join(f"<td>{_cell(value)}</td>" for value in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        value = f"{value:.4f}"
    elif isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False)
    text = "" if value is None else str(value)
    short = text if len(text) <= _TEXT_MAX else text[: _TEXT_MAX - 1] + "…"
    return html.escape(short)


def hits(found: Hits) -> str:
    """The first hits of the first queries."""
    first_rows = found.to_rows() if found.single else _first_queries(found)
    head = (["query"] if not found.single else []) + ["id", found.score_kind, "metadata"]
    shown = first_rows[:_ROWS_MAX] if found.single else first_rows
    rows = [
        ([row["query"]] if "query" in row else []) + [row["id"], row["score"], row["metadata"]]
        for row in shown
    ]
    return f"<p>{html.escape(repr(found))}</p>" + _table(head, rows)


def _first_queries(found: Hits) -> list[dict[str, Any]]:
    rows = []
    for query in range(min(len(found), _QUERIES_MAX)):
        one = found[query]
        rows += [{"query": query, **row} for row in one.to_rows()[: _ROWS_MAX // _QUERIES_MAX]]
    return rows


def collection(shown: Collection) -> str:
    """What it holds, and a line for each segment."""
    title = f"<p>{html.escape(repr(shown))}</p>"
    try:
        segments = shown.stats()["segments"]
    except Exception:
        return title
    head = ["segment", "points", "deleted", "MB", "graph"]
    rows = [
        [
            entry["name"],
            entry["live"],
            entry["rows"] - entry["live"],
            entry["bytes"] / 1e6,
            "yes" if entry["graph"] else "no",
        ]
        for entry in segments
    ]
    return title + _table(head, rows)


def database(shown: Database) -> str:
    """A line for each collection."""
    title = f"<p>{html.escape(repr(shown))}</p>"
    try:
        collections = [shown.collection(name) for name in shown]
    except Exception:
        return title
    rows = [[each.name, len(each), each.dim, each.metric, each.store] for each in collections]
    return title + _table(["collection", "points", "dim", "metric", "store"], rows)
