"""Answers computed the plain way, to compare with: brute force over float64, filters over dicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def scores(metric: str, vectors: Array, queries: Array) -> Array:
    """Score of each vector for each query, in float64."""
    vectors, queries = vectors.astype(np.float64), queries.astype(np.float64)
    products = queries @ vectors.T
    if metric == "dot":
        return products
    if metric == "cosine":
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)[None, :]
        return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.linalg.norm(queries[:, None, :] - vectors[None, :, :], axis=2)


def best(metric: str, table: Array, k: int) -> Array:
    """The k best scores of each query, best first."""
    ordered = np.sort(table, axis=1)
    return ordered[:, :k] if metric == "l2" else ordered[:, ::-1][:, :k]


def passes(where: dict[str, Any], row: dict[str, Any] | None) -> bool:
    """Whether a row passes a filter: and, or, not, and operators on fields of one level."""
    return all(_entry(key, value, row or {}) for key, value in where.items())


def _entry(key: str, value: Any, row: dict[str, Any]) -> bool:
    if key == "and":
        return all(passes(each, row) for each in value)
    if key == "or":
        return any(passes(each, row) for each in value)
    if key == "not":
        return not passes(value, row)
    operators = value if isinstance(value, dict) else {"eq": value}
    return all(_operator(name, operand, key, row) for name, operand in operators.items())


def _operator(name: str, operand: Any, key: str, row: dict[str, Any]) -> bool:
    if name == "exists":
        return (key in row) == operand
    if name == "ne":
        return not _operator("eq", operand, key, row)
    if name == "nin":
        return not _operator("in", operand, key, row)
    found = row.get(key)
    values = found if isinstance(found, list) else [found] if key in row else []
    if name == "in":
        return any(_equal(one, other) for one in values for other in operand)
    if name in ("eq", "contains"):
        return any(_equal(one, operand) for one in values)
    compare = {
        "lt": lambda one: one < operand,
        "lte": lambda one: one <= operand,
        "gt": lambda one: one > operand,
        "gte": lambda one: one >= operand,
    }[name]
    return any(_same_kind(one, operand) and compare(one) for one in values)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def _same_kind(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) and _kind(one) in ("number", "str")


def _equal(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) and bool(one == other)
