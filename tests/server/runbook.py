"""A runbook as a program: its commands in order, and what the page says they print.

A page's steps are its ```bash blocks. A ```json or ```text block right after one is the output as the page
shows it: of JSON the shape must agree (the same names at the same places, the same kinds of values), of text
every line, in order, where … stands for anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One block of commands."""

    command: str
    # Language and text of the output block that follows, if one does.
    shown: tuple[str, str] | None = None

    @property
    def verb(self) -> str:
        """The verb of the program, or the program that is called instead."""
        own = re.search(r"cargo run (?:--release )?-- ([\w-]+)", self.command)
        return own[1] if own else self.command.split()[0]


def steps(page: Path) -> list[Step]:
    found: list[Step] = []
    for language, text in FENCE.findall(page.read_text()):
        if language == "bash":
            found.append(Step(text))
        elif language in ("json", "text") and found and found[-1].shown is None:
            found[-1] = Step(found[-1].command, (language, text))
    return found


def filled(command: str, values: dict[str, str]) -> str:
    """The command with `<name>` replaced by what earlier steps printed; an unknown name is an error."""
    return re.sub(r"<([a-z_]+)>", lambda found: values[found[1]], command)


def difference(shown: tuple[str, str], printed: str) -> str | None:
    """Where the output is not as shown; None if it is."""
    language, expected = shown
    if language == "json":
        return shape_difference(json.loads(expected), json.loads(printed), "$")
    lines = iter(printed.splitlines())
    for line in expected.splitlines():
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        if not any(re.fullmatch(pattern, candidate) for candidate in lines):
            return f"no line like {line!r} (in this order) in:\n{printed}"
    return None


def shape_difference(expected: Any, found: Any, place: str) -> str | None:
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            return f"{place}: shown {sorted(expected)}, printed {sorted(found)}"
        pairs = [(expected[name], found[name], f"{place}.{name}") for name in expected]
    elif isinstance(expected, list) and isinstance(found, list):
        pairs = [(expected[0], item, f"{place}[{i}]") for i, item in enumerate(found)] if expected else []
    elif kind(expected) != kind(found):
        return f"{place}: shown {expected!r}, printed {found!r}"
    else:
        return None
    return next(filter(None, (shape_difference(*pair) for pair in pairs)), None)


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else type(value).__name__
