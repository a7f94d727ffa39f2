"""Arrow IPC streams, message by message, from the standard library: also those that no writer would make.

A message is a flatbuffer that describes a body of buffers. `Table`, `Vector` and `Text` are the parts of a
flatbuffer; the slots of tables are numbered as in Arrow's Schema.fbs and Message.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
NULL, INT, FLOAT, UTF8, LIST, FIXED_LIST = 1, 2, 3, 5, 12, 16
VERSION_5, SINGLE = 4, 1


def aligned(buffer: bytearray, size: int, extra: int = 0) -> None:
    while (len(buffer) + extra) % size:
        buffer.append(0)


@dataclass
class Scalar:
    """`kind` is a letter of the struct module: b, h, i or q."""

    kind: str
    value: int


@dataclass
class Text:
    value: str

    def write(self, buffer: bytearray) -> int:
        aligned(buffer, 4)
        at = len(buffer)
        raw = self.value.encode()
        buffer += struct.pack("<I", len(raw)) + raw + b"\0"
        return at


@dataclass
class Pairs:
    """A vector of structs of two 64-bit numbers."""

    items: Sequence[tuple[int, int]]

    def write(self, buffer: bytearray) -> int:
        aligned(buffer, 8, extra=4)
        at = len(buffer)
        buffer += struct.pack("<I", len(self.items))
        for pair in self.items:
            buffer += struct.pack("<qq", *pair)
        return at


@dataclass
class Table:
    """Slots by number; None leaves one out."""

    slots: Sequence[Scalar | Part | None]

    def write(self, buffer: bytearray) -> int:
        places, end = [], 4
        for slot in self.slots:
            size = 0 if slot is None else struct.calcsize(slot.kind) if isinstance(slot, Scalar) else 4
            end += -end % max(size, 1)
            places.append(end if size else 0)
            end += size
        vtable = struct.pack(f"<HH{len(places)}H", 4 + 2 * len(places), end, *places)
        aligned(buffer, 8, extra=len(vtable))
        buffer += vtable
        at = len(buffer)
        buffer += struct.pack("<i", len(vtable)) + bytes(end - 4)
        for slot, place in zip(self.slots, places, strict=True):
            if isinstance(slot, Scalar):
                struct.pack_into(f"<{slot.kind}", buffer, at + place, slot.value)
            elif slot is not None:
                struct.pack_into("<I", buffer, at + place, slot.write(buffer) - at - place)
        return at


@dataclass
class Vector:
    items: Sequence[Table] = ()

    def write(self, buffer: bytearray) -> int:
        aligned(buffer, 4)
        at = len(buffer)
        buffer += struct.pack("<I", len(self.items)) + bytes(4 * len(self.items))
        for index, item in enumerate(self.items):
            place = at + 4 + 4 * index
            struct.pack_into("<I", buffer, place, item.write(buffer) - place)
        return at


Part = Text | Pairs | Table | Vector


def message(kind: int, header: Table, body: bytes = b"") -> bytes:
    root = Table([Scalar("h", VERSION_5), Scalar("b", kind), header, Scalar("q", len(body))])
    buffer = bytearray(4)
    struct.pack_into("<I", buffer, 0, root.write(buffer))
    aligned(buffer, 8)
    return b"\xff\xff\xff\xff" + struct.pack("<I", len(buffer)) + bytes(buffer) + body


def int_type(bits: int) -> Table:
    return Table([Scalar("i", bits), Scalar("b", 1)])


@dataclass
class Column:
    """A column as the schema has it; `nodes` and `buffers` of one batch, in Arrow's order."""

    name: str
    kind: int
    type: Table
    nodes: list[tuple[int, int]]
    buffers: list[bytes]
    children: list[Column] = field(default_factory=list)
    dictionary: int | None = None

    def field(self) -> Table:
        coded = self.dictionary
        encoding = None if coded is None else Table([Scalar("q", coded), int_type(8)])
        children = Vector([child.field() for child in self.children])
        return Table([Text(self.name), Scalar("b", 1), Scalar("b", self.kind), self.type, encoding, children])

    def parts(self) -> tuple[list[tuple[int, int]], list[bytes]]:
        nodes, buffers = list(self.nodes), list(self.buffers)
        for child in self.children:
            more_nodes, more_buffers = child.parts()
            nodes += more_nodes
            buffers += more_buffers
        return nodes, buffers


def vectors(name: str, rows: int, dim: int, value: float = 1.0) -> Column:
    elements = struct.pack("<f", value) * (rows * dim)
    item = Column("item", FLOAT, Table([Scalar("h", SINGLE)]), [(rows * dim, 0)], [b"", elements])
    return Column(name, FIXED_LIST, Table([Scalar("i", dim)]), [(rows, 0)], [b""], [item])


def coded_text(name: str, rows: int, dictionary: int) -> Column:
    """The first text of a dictionary, in every row."""
    return Column(name, UTF8, Table([]), [(rows, 0)], [b"", bytes(rows)], dictionary=dictionary)


def text(name: str, values: Sequence[str]) -> Column:
    raw = [value.encode() for value in values]
    ends = [sum(map(len, raw[:count])) for count in range(len(raw) + 1)]
    offsets = struct.pack(f"<{len(ends)}i", *ends)
    return Column(name, UTF8, Table([]), [(len(raw), 0)], [b"", offsets, b"".join(raw)])


def list_of_nulls(name: str, count: int) -> Column:
    """One row: a list of so many nulls, which take no bytes."""
    nulls = Column("item", NULL, Table([]), [(count, count)], [])
    offsets = struct.pack("<ii", 0, count)
    return Column(name, LIST, Table([]), [(1, 0)], [b"", offsets], [nulls])


def batch(rows: int, columns: Sequence[Column]) -> tuple[Table, bytes]:
    nodes: list[tuple[int, int]] = []
    places: list[tuple[int, int]] = []
    body = bytearray()
    for column in columns:
        more, buffers = column.parts()
        nodes += more
        for buffer in buffers:
            aligned(body, 8)
            places.append((len(body), len(buffer)))
            body += buffer
    aligned(body, 8)
    return Table([Scalar("q", rows), Pairs(nodes), Pairs(places)]), bytes(body)


def dictionary(number: int, values: Sequence[str]) -> bytes:
    header, body = batch(len(values), [text("", values)])
    return message(DICTIONARY, Table([Scalar("q", number), header]), body)


def stream(rows: int, columns: Sequence[Column], dictionaries: Sequence[bytes] = ()) -> bytes:
    schema = Table([Scalar("h", 0), Vector([column.field() for column in columns])])
    header, body = batch(rows, columns)
    records = message(RECORDS, header, body)
    return message(SCHEMA, schema) + b"".join(dictionaries) + records + b"\xff\xff\xff\xff\0\0\0\0"
