"""Where in a log each recorded allocator state was taken.

A state is read at entry of the write that leaves its marker line, so it lies at that line or, if other
CPUs were quick, up to MARKER_LAG_LINES lines before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from snapshots.logs.allocator_state import AllocatorState
from snapshots.logs.line_order import LineOrder
from snapshots.logs.trace_log import Marker, TraceLog

MARKER_LAG_LINES = 3
AT_START = "trace-start"


class StateMoment(NamedTuple):
    """A recorded state and the line before which it was taken, at the latest."""

    position: int
    state: AllocatorState


def place_states(
    states: Iterable[AllocatorState], log: TraceLog, order: LineOrder
) -> tuple[StateMoment, ...]:
    """Return every state with its place; markers are taken in order, a state without one is the end."""
    line_nos = [line.event.line_no for line in order.lines]
    markers = iter(log.markers)
    placed: list[StateMoment] = []
    for state in states:
        label = state.label.strip()
        position = len(line_nos)
        if label.startswith(AT_START):
            position = 0
        else:
            marker = _next_named(markers, label)
            if marker is not None:
                position = sum(1 for line_no in line_nos if line_no < marker.line_no)
        placed.append(StateMoment(position, state))
    return tuple(placed)


def _next_named(markers: Iterable[Marker], label: str) -> Marker | None:
    for marker in markers:
        text = marker.text.strip()
        if text and label.endswith(text):
            return marker
    return None
