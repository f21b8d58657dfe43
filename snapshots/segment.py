"""A stretch of a recording between two keyframes: its inputs and the events they caused.

    keyframe ─┬─ segment: inputs i … j, events m … n ─┬─ keyframe ─┬─ …
              step a, no call under way               step b        (the last one is still open)

A closed segment is packed; it is unpacked when somebody looks, or runs through it. What must be known
without unpacking (where it begins, how much is in it, where chunks came and went) is in its head.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, cast

from kernel_sim.events import EVENT_NAMES, EVENT_TYPES, EventAt
from kernel_sim.inputs import Input
from snapshots.body import unpack_body
from snapshots.errors import RecordingError
from snapshots.limits import SEGMENT_ITEMS_MAX
from snapshots.state_codec import encode_part

MARK_KINDS = {
    "percpu_create_chunk": "c",
    "percpu_destroy_chunk": "d",
    "percpu_alloc_percpu_fail": "f",
}
SEGMENT_BYTES_MAX = 64 << 20
INPUT_ITEMS = 6  # of a row: itself and what it has besides arguments
EVENT_ITEMS = 5
_CODES = {row: code for code, row in enumerate(EVENT_NAMES)}
_ROWS = tuple(EVENT_NAMES)


class Mark(NamedTuple):
    """A moment worth a sign on the scrubber: c(reate), d(estroy) or f(ailure)."""

    step: int
    kind: str


@dataclass(slots=True)
class SegmentHead:
    """Where a segment begins and how much is in it."""

    first_step: int
    first_input: int
    first_event: int
    nr_inputs: int = 0
    nr_events: int = 0
    last_step: int = 0
    marks: list[Mark] = field(default_factory=list)


@dataclass(slots=True)
class SegmentBody:
    """The inputs and events of one segment."""

    inputs: list[Input]
    events: list[EventAt]


Rows: TypeAlias = "list[tuple[object, ...]]"


def pack_segment(body: SegmentBody) -> bytes:
    """Return the body as bytes; steps are written as differences, which compress to almost nothing.

    Raises: RecordingError if it holds more than unpack_segment() would read.
    """
    inputs: Rows = []
    step = 0
    for given in body.inputs:
        inputs.append((given.step - step, given.do, given.cpu, given.args, given.line, given.by))
        step = given.step
    events: Rows = []
    step = 0
    for at, cpu, event in body.events:
        events.append((at - step, cpu, _CODES[type(event)], tuple(event)))
        step = at
    packed = encode_part((inputs, events))
    if len(packed) >= SEGMENT_BYTES_MAX or nr_items_of(body) > SEGMENT_ITEMS_MAX:
        raise RecordingError(
            f"{len(inputs)} inputs and {len(events)} events between two keyframes have {len(packed)} bytes;"
            f" a segment holds at most {SEGMENT_BYTES_MAX} bytes and {SEGMENT_ITEMS_MAX} items"
        )
    return zlib.compress(packed, 1)


def nr_items_of(body: SegmentBody) -> int:
    """Return how many msgpack items a body has at most."""
    nr_items = sum(INPUT_ITEMS + 1 + len(given.args) for given in body.inputs)
    nr_items += sum(EVENT_ITEMS + len(event) + _nested(event) for _, _, event in body.events)
    return nr_items + 3


def _nested(event: tuple[object, ...]) -> int:
    return sum(len(each) for each in event if isinstance(each, tuple | list))


def unpack_segment(data: bytes) -> SegmentBody:
    """Return the body that pack_segment() wrote. Raises RecordingError for anything else."""
    inflate = zlib.decompressobj()
    try:
        packed = inflate.decompress(data, SEGMENT_BYTES_MAX)
    except zlib.error as problem:
        raise RecordingError(f"a segment does not inflate: {problem}") from problem
    if inflate.unconsumed_tail or not inflate.eof:
        raise RecordingError(f"a segment holds more than {SEGMENT_BYTES_MAX} bytes or is cut short")
    rows = unpack_body(packed, items_max=SEGMENT_ITEMS_MAX)
    try:
        inputs, events = cast("tuple[Rows, Rows]", rows)
        return SegmentBody(_inputs_of(inputs), _events_of(events))
    except (TypeError, ValueError, IndexError, KeyError) as problem:
        raise RecordingError(
            f"a segment's rows are not as format 1 has them: {problem}"
        ) from problem


def _inputs_of(rows: Rows) -> list[Input]:
    inputs: list[Input] = []
    step = 0
    for gap, do, cpu, args, line, by in cast(
        "list[tuple[int, str, int, list[int], int, str]]", rows
    ):
        step += gap
        if not isinstance(do, str) or not isinstance(cpu, int) or not isinstance(by, str):
            raise TypeError(f"input of {do!r} for CPU {cpu!r}")
        inputs.append(Input(step, do, cpu, tuple(args), line, by))
    return inputs


def _events_of(rows: Rows) -> list[EventAt]:
    events: list[EventAt] = []
    step = 0
    for gap, cpu, code, fields in cast("list[tuple[int, int, int, list[object]]]", rows):
        step += gap
        events.append(EventAt(step, cpu, _ROWS[code](*fields)))
    return events


def marks_of(events: list[EventAt]) -> list[Mark]:
    """Return the marks among the events."""
    return [
        Mark(at.step, MARK_KINDS[name])
        for at in events
        if (name := EVENT_NAMES[type(at.event)]) in MARK_KINDS
    ]


assert len(EVENT_TYPES) == len(_ROWS)
