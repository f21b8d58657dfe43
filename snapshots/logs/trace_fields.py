"""The fields of the percpu events, as text and as a TraceEvent.

    call_site=… reserved=0 is_atomic=0 size=4 align=4 base_addr=… off=8 ptr=… bytes_alloc=… gfp_…
    └─ newer ─┘ └────────── request ────────────────┘ └───── place ─────────┘ └───── newer ──────┘

The fields are matched as a whole: a field too few, too many or out of order is no event.
"""

from __future__ import annotations

import re

from snapshots.errors import TraceError
from snapshots.logs.trace_line import Front, malformed
from snapshots.logs.trace_log import EventKind, TraceEvent

Fields = tuple[tuple[str, str], ...]

NUMBER = "([0-9]{1,10})"
POINTER = r"((?:0x)?[0-9a-fA-F]{1,16}|\(_+ptrval_+\))"
CALL_SITE = ("call_site=", "(.*?) (?=reserved=)")
REQUEST = (
    ("reserved=", "([01])"),
    (" is_atomic=", "([01])"),
    (" size=", NUMBER),
    (" align=", NUMBER),
)
PLACE = (("base_addr=", POINTER), (" off=", NUMBER), (" ptr=", POINTER))
PRICE = ((" bytes_alloc=", "([0-9]{1,15})"), (" gfp_flags=", r"(\S*)"))
FIELDS_OF: dict[str, Fields] = {
    "percpu_alloc_percpu": (*REQUEST, (" base_addr=", POINTER), *PLACE[1:], *PRICE),
    "percpu_free_percpu": PLACE,
    "percpu_alloc_percpu_fail": REQUEST,
    "percpu_create_chunk": PLACE[:1],
    "percpu_destroy_chunk": PLACE[:1],
}
KIND_OF: dict[str, EventKind] = {
    "percpu_alloc_percpu": "alloc",
    "percpu_free_percpu": "free",
    "percpu_alloc_percpu_fail": "alloc_fail",
    "percpu_create_chunk": "create",
    "percpu_destroy_chunk": "destroy",
    "tracing_mark_write": "mark",
}


def _pattern(fields: Fields) -> str:
    return "".join(name + value for name, value in fields)


ALLOC = re.compile(
    f"(?:{_pattern((CALL_SITE,))})?{_pattern(REQUEST)} {_pattern(PLACE)}"
    rf"(?:{_pattern(PRICE)})?\s*"
)
FREE = re.compile(_pattern(PLACE) + r"\s*")
ALLOC_FAIL = re.compile(_pattern(REQUEST) + r"\s*")
CHUNK = re.compile(_pattern(PLACE[:1]) + r"\s*")


def read_event(
    source: str, line_no: int, line: str, name: str, front: Front, at: int
) -> TraceEvent | None:
    """Return the event whose fields begin at column at; None if they are malformed.

    Raises: TraceError if the kernel printed no pointers at all.
    """
    task, pid, cpu, flags, stamp = front[:5]
    if name == "percpu_alloc_percpu":
        found = ALLOC.fullmatch(line, at)
        if found is None:
            return None
        site, reserved, atomic, size, align, base, off, ptr, price, gfp = found.groups()
        if "(" in base or "(" in ptr:
            raise _no_pointers(source, line_no, line, found.start(6))
        return TraceEvent(
            line_no, "alloc", task, pid, cpu, flags, stamp, site or "", reserved == "1",
            atomic == "1", int(size), int(align), int(base, 16), int(off), int(ptr, 16),
            int(price or 0), gfp or "",
        )  # fmt: skip
    if name == "percpu_free_percpu":
        found = FREE.fullmatch(line, at)
        if found is None:
            return None
        base, off, ptr = found.groups()
        if "(" in base or "(" in ptr:
            raise _no_pointers(source, line_no, line, found.start(1))
        return TraceEvent(
            line_no, "free", task, pid, cpu, flags, stamp,
            base_addr=int(base, 16), off=int(off), ptr=int(ptr, 16),
        )  # fmt: skip
    return _rare_event(source, line_no, line, name, front, at)


def _rare_event(
    source: str, line_no: int, line: str, name: str, front: Front, at: int
) -> TraceEvent | None:
    head = (line_no, KIND_OF[name], *front[:5])
    if name == "tracing_mark_write":
        return TraceEvent(*head, text=line[at:].rstrip("\r\n"))
    if name == "percpu_alloc_percpu_fail":
        found = ALLOC_FAIL.fullmatch(line, at)
        if found is None:
            return None
        reserved, atomic, size, align = found.groups()
        return TraceEvent(
            *head,
            reserved=reserved == "1",
            is_atomic=atomic == "1",
            size=int(size),
            align=int(align),
        )
    found = CHUNK.fullmatch(line, at)
    if found is None:
        return None
    if "(" in found[1]:
        raise _no_pointers(source, line_no, line, found.start(1))
    return TraceEvent(*head, base_addr=int(found[1], 16))


def malformed_at(line: str, name: str, start: int) -> tuple[int, str]:
    """Return the column (from 0) where the fields of an event go wrong, and what belongs there."""
    column = start
    if name == "percpu_alloc_percpu":
        call_site = re.compile(_pattern((CALL_SITE,))).match(line, start)
        if call_site is None and line.startswith("call_site=", start):
            return start, "call_site=… reserved=…"
        column = call_site.end() if call_site else start
    for field_name, value in FIELDS_OF[name]:
        found = re.compile(field_name + value + r"(?!\S)").match(line, column)
        if found is None:
            return column + line.startswith(" ", column), field_name.strip() + "…"
        column = found.end()
    return column, "the end of the line"


def _no_pointers(source: str, line_no: int, line: str, column: int) -> TraceError:
    advice = "an address: this kernel hid its pointers; boot it with no_hash_pointers"
    return malformed(source, line_no, line, column, advice)
