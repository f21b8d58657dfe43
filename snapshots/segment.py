"""A stretch of a recording between two keyframes: its inputs and the events they caused.

    keyframe ─┬─ segment: inputs i … j, events m … n ─┬─ keyframe ─┬─ …
              step a, no call under way               step b        (the last one is still open)

A closed segment is packed by columns; it is unpacked when somebody looks, or runs through it. What must be
known without unpacking (where it begins, how much is in it, where chunks came and went) is in its head.
Segments of schemas 1 and 2 are rows, and stay readable.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar, cast

from kernel_sim.events import EVENT_NAMES, EVENT_TYPES, EventAt
from kernel_sim.inputs import Input
from snapshots.container.body import check_items, unpack_body
from snapshots.container.limits import SEGMENT_ITEMS_MAX
from snapshots.errors import RecordingError
from snapshots.segment_columns import (
    CELLS_MAX,
    Unpacked,
    pack_events,
    pack_inputs,
    unpack_events,
    unpack_inputs,
)
from snapshots.state_codec import encode_part

MARK_KINDS = {
    "percpu_create_chunk": "c",
    "percpu_destroy_chunk": "d",
    "percpu_add_block": "c",
    "percpu_free_block": "d",
    "percpu_alloc_percpu_fail": "f",
}
SEGMENT_BYTES_MAX = 64 << 20
COLUMNS = 3  # the layout; rows have none
DEFLATE_LEVEL = (
    6  # columns are short: level 1 saves a tenth of the time and costs a seventh more bytes
)
SEGMENT_MAPS_MAX = 1024  # there are none; that many bytes may look like one before they are counted
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


class SegmentBody:
    """The inputs and events of one segment; events are unpacked when somebody looks at them."""

    __slots__ = ("_events", "_nr_packed", "_unpack_events", "inputs")

    def __init__(
        self,
        inputs: list[Input],
        events: list[EventAt] | None = None,
        unpack_events: Callable[[], list[EventAt]] | None = None,
        nr_packed: int = 0,
    ) -> None:
        """Hold events, or how many are packed and what unpacks them."""
        self.inputs = inputs
        self._nr_packed = nr_packed
        self._events = events
        self._unpack_events = unpack_events

    @property
    def events(self) -> list[EventAt]:
        """The events. Raises RecordingError if they are not as the format has them."""
        if self._events is None:
            unpack = self._unpack_events
            self._events = unpack() if unpack is not None else []  # what fails, fails every time
            self._unpack_events = None
        return self._events

    @events.setter
    def events(self, events: list[EventAt]) -> None:
        self._events, self._unpack_events = events, None

    @property
    def nr_events(self) -> int:
        """How many events there are; they need not be unpacked for that."""
        return self._nr_packed if self._events is None else len(self._events)

    @property
    def nr_rows(self) -> int:
        """How many inputs and events there are: what it takes in memory."""
        return len(self.inputs) + self.nr_events

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SegmentBody):
            return NotImplemented
        return self.inputs == other.inputs and self.events == other.events

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"SegmentBody({len(self.inputs)} inputs, {self.nr_events} events)"


T = TypeVar("T")
Rows: TypeAlias = "list[tuple[object, ...]]"


def pack_segment(body: SegmentBody) -> bytes:
    """Return the body as bytes.

    Raises: RecordingError if it holds more than unpack_segment() would read.
    """
    inputs, named, input_cells = pack_inputs(body.inputs)
    events, event_cells = pack_events(body.events, named)
    packed = encode_part((COLUMNS, len(body.inputs), len(body.events), inputs, events))
    nr_cells = input_cells + event_cells
    if len(packed) >= SEGMENT_BYTES_MAX or nr_cells > CELLS_MAX:
        raise RecordingError(
            f"{len(body.inputs)} inputs and {len(body.events)} events between two keyframes have"
            f" {len(packed)} bytes in {nr_cells} cells; a segment holds at most {SEGMENT_BYTES_MAX} bytes"
            f" and {CELLS_MAX} cells"
        )
    check_items(packed, items_max=SEGMENT_ITEMS_MAX, maps_max=SEGMENT_MAPS_MAX)
    return zlib.compress(packed, DEFLATE_LEVEL)


def unpack_segment(data: bytes) -> SegmentBody:
    """Return the body that pack_segment() wrote. Raises RecordingError for anything else."""
    inflate = zlib.decompressobj()
    try:
        packed = inflate.decompress(data, SEGMENT_BYTES_MAX)
    except zlib.error as problem:
        raise RecordingError(f"a segment does not inflate: {problem}") from problem
    if inflate.unconsumed_tail or not inflate.eof:
        raise RecordingError(f"a segment holds more than {SEGMENT_BYTES_MAX} bytes or is cut short")
    check_items(packed, items_max=SEGMENT_ITEMS_MAX, maps_max=SEGMENT_MAPS_MAX)
    rows = unpack_body(packed, items_max=SEGMENT_ITEMS_MAX)
    match rows:
        case [int(layout), int(nr_inputs), int(nr_events), inputs, events] if layout == COLUMNS:
            unpacked = Unpacked()
            given = _as_format_has_it(lambda: unpack_inputs(unpacked, inputs, nr_inputs))
            later = partial(unpack_events, unpacked, events, nr_events)
            return SegmentBody(given, None, lambda: _as_format_has_it(later), nr_events)
    return _as_format_has_it(lambda: _rows_of(rows))


def _as_format_has_it(unpack: Callable[[], T]) -> T:
    """Return what is unpacked. Raises RecordingError for whatever is shaped in another way."""
    try:
        return unpack()
    except (TypeError, ValueError, LookupError, StopIteration, OverflowError) as problem:
        raise RecordingError(
            f"a segment's rows are not as format 1 has them: {problem!r:.200}"
        ) from problem


def _rows_of(rows: object) -> SegmentBody:
    """Return a segment that schema 1 or 2 wrote, row by row."""
    inputs, events = cast("tuple[Rows, Rows]", rows)
    return SegmentBody(_inputs_of(inputs), _events_of(events))


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
