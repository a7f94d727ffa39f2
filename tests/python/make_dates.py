"""Writes tests/dates.json: dates as texts, texts that are none, and filters on dates with the rows that pass them.

The oracle is Python's `datetime`: each form is given with the numbers that it says, and moments are compared as whole
microseconds. The tests of every home read the file and hold their own answers against it. Running it again gives the
same bytes.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "dates.json"
MICROSECOND = timedelta(microseconds=1)
# The calendar repeats: so much is added to the years that `datetime` does not have.
CYCLE_YEARS, CYCLE = 400, timedelta(days=146_097)

#: Year, month, day, hour, minute, second, microsecond, minutes east of Greenwich; what is left out is 0.
FORMS: dict[str, tuple[int, ...]] = {
    "1970-01-01T00:00:00Z": (1970, 1, 1),
    "1970-01-01": (1970, 1, 1),
    "1970-01-01T00:00:00": (1970, 1, 1),
    "1970-01-01 00:00:00+00:00": (1970, 1, 1),
    "1970-01-01t00:00:00z": (1970, 1, 1),
    "1970-01-01T00:00:00-00:00": (1970, 1, 1),
    "1969-12-31T23:59:59.999999Z": (1969, 12, 31, 23, 59, 59, 999_999),
    "1969-12-31T23:59:59.9999999Z": (1969, 12, 31, 23, 59, 59, 999_999),
    "1969-12-31T23:59:59.5": (1969, 12, 31, 23, 59, 59, 500_000),
    "1969-12-31T19:00:00-05:00": (1969, 12, 31, 19, 0, 0, 0, -300),
    "2020-01-01T00:00:00+09:00": (2020, 1, 1, 0, 0, 0, 0, 540),
    "2019-12-31T15:00:00Z": (2019, 12, 31, 15),
    "2019-12-31T20:00:00Z": (2019, 12, 31, 20),
    "2020-01-01": (2020, 1, 1),
    "2020-01-01T00:00:00.000": (2020, 1, 1),
    "2020-01-01T00:00:00.000001Z": (2020, 1, 1, 0, 0, 0, 1),
    "2020-01-01T00:00:00.000001499Z": (2020, 1, 1, 0, 0, 0, 1),
    "2020-01-01T00:00:00.000001999+00:00": (2020, 1, 1, 0, 0, 0, 1),
    "2020-01-01T00:00:00.1Z": (2020, 1, 1, 0, 0, 0, 100_000),
    "2020-01-01T01:00:00.100+01:00": (2020, 1, 1, 1, 0, 0, 100_000, 60),
    "2020-01-01T00:00:00.123456789123456789Z": (2020, 1, 1, 0, 0, 0, 123_456),
    "2020-02-29": (2020, 2, 29),
    "2000-02-29T12:00:00Z": (2000, 2, 29, 12),
    "2100-02-28T23:59:59Z": (2100, 2, 28, 23, 59, 59),
    "2100-03-01": (2100, 3, 1),
    "2016-12-31T23:59:60Z": (2017, 1, 1),
    "2016-12-31T23:59:60.5Z": (2017, 1, 1, 0, 0, 0, 500_000),
    "2017-01-01T00:59:60+01:00": (2017, 1, 1, 1, 0, 0, 0, 60),
    "2017-01-01": (2017, 1, 1),
    "2016-12-31T23:59:59Z": (2016, 12, 31, 23, 59, 59),
    "0000-01-01T00:00:00Z": (0, 1, 1),
    "0000-01-01T00:00:00+23:59": (0, 1, 1, 0, 0, 0, 0, 1439),
    "0000-02-29": (0, 2, 29),
    "0001-01-01": (1, 1, 1),
    "1582-10-10": (1582, 10, 10),
    "9999-12-31T23:59:59.999999Z": (9999, 12, 31, 23, 59, 59, 999_999),
    "9999-12-31T23:59:59-23:59": (9999, 12, 31, 23, 59, 59, 0, -1439),
    "2021-03-28T01:59:59+01:00": (2021, 3, 28, 1, 59, 59, 0, 60),
    "2021-03-28T03:00:00+02:00": (2021, 3, 28, 3, 0, 0, 0, 120),
    "2021-10-31T02:30:00+02:00": (2021, 10, 31, 2, 30, 0, 0, 120),
    "2021-10-31T02:30:00+01:00": (2021, 10, 31, 2, 30, 0, 0, 60),
    "2021-06-15T12:00:00+05:45": (2021, 6, 15, 12, 0, 0, 0, 345),
    "2021-06-15T12:00:00-23:59": (2021, 6, 15, 12, 0, 0, 0, -1439),
    "2021-06-15T06:15:00": (2021, 6, 15, 6, 15),
}

NO_DATES = [
    "10000-01-01", "+10000-01-01T00:00:00Z", "-0001-01-01", "999-01-01", "2020-13-01", "2020-00-10", "2021-02-29",
    "2100-02-29T00:00:00Z", "2020-01-01T24:00:00Z", "2020-01-01T23:60:00Z", "2020-01-01T23:59:61Z",
    "2020-01-01T00:00:00+24:00", "2020-01-01T00:00:00-24:00", "2020-01-01T00:00:00+01:60", "2020-01-01T00:00:00+1",
    "2020-01-01T00:00", "2020-01-01T00:00:00.Z", "2020-01-01Z", "2020-1-1", "20200101", "2020-01-01T", " 2020-01-01",
    "2020-01-01 ", "now", "", f"2020-01-01T00:00:00.{'0' * 58}Z",
]

OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
}


def micros(year: int, month: int, day: int, *rest: int) -> int:
    """Microseconds since 1970."""
    hour, minute, second, micro, east = (*rest, 0, 0, 0, 0, 0)[:5]
    is_early = year < CYCLE_YEARS
    local = datetime(year + CYCLE_YEARS * is_early, month, day, hour, minute, second, micro)
    since = local - datetime(1970, 1, 1) - CYCLE * is_early - timedelta(minutes=east)
    return since // MICROSECOND


def cases() -> dict[str, Any]:
    """What the file holds."""
    texts, moments = list(FORMS), [micros(*parts) for parts in FORMS.values()]

    def passing(passes: Callable[[int], bool]) -> str:
        return "".join("1" if passes(moment) else "0" for moment in moments)

    questions = []
    for place, (text, then) in enumerate(zip(texts, moments)):
        other = (place * 7 + 3) % len(texts)
        other_text, end = texts[other], moments[other]
        for name, passes in OPERATORS.items():
            questions.append([{"at": {name: text}}, passing(lambda at, passes=passes: passes(at, then))])
        ranged = {"at": {"gte": text, "lt": other_text}}
        questions.append([ranged, passing(lambda at: then <= at < end)])
        questions.append([{"at": {"in": [text, other_text]}}, passing(lambda at: at in (then, end))])
        questions.append([{"at": {"nin": [text, other_text]}}, passing(lambda at: at not in (then, end))])
    return {"dates": list(zip(texts, moments)), "no_dates": NO_DATES, "questions": questions}


def text() -> str:
    """The file: one line for each entry of its lists."""
    parts = []
    for name, entries in cases().items():
        lines = ",\n".join(json.dumps(entry) for entry in entries)
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text())
