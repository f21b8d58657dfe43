"""Can a log be predicted? Only if it holds every operation since boot, and the machine is known.

    complete      every free is of an area that the log, or the early list, allocated; every chunk that is
                  named was created in the log or is part of the first unit; the tracer lost nothing
    otherwise     the log is *observed*: what it says is shown, nothing is predicted

Each reason is a line for the user, with numbers and the first line concerned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from snapshots.logs.early_allocs import EarlyAlloc
from snapshots.logs.machine_folder import RealMachine
from snapshots.logs.trace_log import TraceEvent, TraceLog

LISTED_LINES_MAX = 12


@dataclass(slots=True)
class Completeness:
    """What is missing in a log, if anything."""

    reasons: list[str] = field(default_factory=list)
    unmatched_frees: list[TraceEvent] = field(default_factory=list)
    reused_places: list[TraceEvent] = field(
        default_factory=list
    )  # allocations on top of a live area
    unknown_bases: dict[int, TraceEvent] = field(default_factory=dict)  # chunks nobody created

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.reasons


def judge(
    log: TraceLog, early: Sequence[EarlyAlloc], base_addr: int | None, unit_bytes: int | None
) -> Completeness:
    """Return what is missing; base_addr is pcpu_base_addr by the log, None if pointers are hashed."""
    found = Completeness()
    live: dict[tuple[int, int], None] = {}
    early_live = _live_pointers(early)
    created: dict[int, None] = {}
    for event in log.events:
        place = (event.base_addr, event.off)
        if event.kind == "create":
            created[event.base_addr] = None
        elif event.kind == "destroy":
            created.pop(event.base_addr, None)
        elif event.kind == "alloc":
            if event.base_addr not in created:
                found.unknown_bases.setdefault(event.base_addr, event)
            if place in live or event.ptr in early_live:
                found.reused_places.append(event)
            live[place] = None
        elif event.kind == "free":
            if event.base_addr not in created:
                found.unknown_bases.setdefault(event.base_addr, event)
            if place in live:
                del live[place]
            elif event.ptr in early_live:
                del early_live[event.ptr]
            elif base_addr is not None or event.base_addr in created:
                found.unmatched_frees.append(event)
    _drop_first_unit(found, base_addr, unit_bytes)
    _reason(log, found)
    return found


def _live_pointers(early: Sequence[EarlyAlloc]) -> dict[int, None]:
    """Return the pointers of the early areas that are live when the log begins."""
    live: dict[int, None] = {}
    for row in early:
        if row.op == "alloc":
            live[row.ptr] = None
        else:
            live.pop(row.ptr, None)
    return live


def _drop_first_unit(found: Completeness, base_addr: int | None, unit_bytes: int | None) -> None:
    """The first unit's chunks need no create line: it was there before tracing began."""
    if base_addr is not None:
        end = base_addr + (unit_bytes or 2 << 20)
        inside = [base for base in found.unknown_bases if base_addr <= base < end]
    else:
        inside = [base for base, event in found.unknown_bases.items() if event.reserved][:1]
        inside += [base for base in found.unknown_bases if base not in inside][:1]
    for base in inside:
        del found.unknown_bases[base]


def _reason(log: TraceLog, found: Completeness) -> None:
    if log.lost:
        found.reasons.append(
            f"the log says that events were lost, at {_lines([row.line_no for row in log.lost])}"
        )
    if not log.is_complete and log.entries_written is not None:
        found.reasons.append(
            f"the log holds {log.entries_in_buffer} of {log.entries_written} entries:"
            " the ring buffer overwrote the rest"
        )
    if found.unmatched_frees:
        lines = _lines([event.line_no for event in found.unmatched_frees])
        found.reasons.append(
            f"{len(found.unmatched_frees)} frees of objects that the log did not allocate, at {lines}"
        )
    if found.reused_places:
        lines = _lines([event.line_no for event in found.reused_places])
        found.reasons.append(
            f"{len(found.reused_places)} allocations where the log has something live, at {lines}"
        )
    if found.unknown_bases:
        first = next(iter(found.unknown_bases.values()))
        found.reasons.append(
            f"{len(found.unknown_bases)} chunks were created before tracing began, the first seen at"
            f" line {first.line_no}"
        )


def lost_by_tracer(real: RealMachine) -> list[str]:
    """Return a line for each CPU whose ring buffer lost events."""
    return [
        f"CPU {row.cpu}: the tracer overwrote {row.overrun} and dropped {row.dropped} events"
        for row in real.trace_stats
        if row.overrun or row.dropped
    ]


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:LISTED_LINES_MAX]))
    more = len(numbers) - LISTED_LINES_MAX
    word = "line" if len(numbers) == 1 else "lines"
    return f"{word} {shown}" + (f" and {more} more" if more > 0 else "")
