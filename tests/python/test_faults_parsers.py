"""A filter as text costs what its limits allow, in Python as over HTTP.

Runs in a process of its own, whose peak of memory is then nothing but the filter's.
"""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
import nearfield

collection = nearfield.open(mode="memory").create("c", 2)
collection.upsert([[1.0, 2.0]], ids=[1], metadata={"n": [1]})


def terms(count):
    return '{"or":[' + ",".join(['{"n":1}'] * count) + "]}"


assert collection.count(terms(9_999)) == 1
texts = [terms(380_000), terms(10_000)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
messages = []
for text in texts:
    try:
        collection.count(text)
    except nearfield.FilterError as error:
        messages.append(str(error))
grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert len(messages) == 2, messages
assert all("nodes of a filter: expected at most 10000, got 10001" in message for message in messages), messages
assert grown_kib < 100 << 10, f"{grown_kib >> 10} MiB for a filter of 3 MiB"
print("bounded")
"""


def test_a_filter_of_too_many_nodes_is_refused_while_it_is_read() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert ended.stdout == "bounded\n", ended.stdout + ended.stderr
