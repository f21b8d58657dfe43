"""Stepping: forwards, each with its way back.

At the newest step of a run there is nothing recorded further on; then step and next let the
machine itself go on, if a call is under way.
"""

from __future__ import annotations

import asyncio

from kernel_sim.events import EVENT_NAMES, EVENT_TYPES, EventAt
from tui.debugger.addresses import parse_number
from tui.debugger.commands.registry import (
    NUMBER,
    POSITION,
    TEXT,
    Argument,
    Command,
    Kind,
    Seat,
    one_of,
)
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.debugger.table import Cell, Table
from tui.debugger.views.events import COLUMNS, event_row
from tui.debugger.views.fault import fault_lines

GROUP = "stepping"
MARK_OF_WORD = {"create": "c", "destroy": "d", "fail": "f"}
CHUNK_MARKS = ("c", "d")
LOOKED_AT_ONCE = 4096  # events between two moments at which a screen may breathe
SHORT_EVENTS = {
    "alloc": "percpu_alloc_percpu",
    "free": "percpu_free_percpu",
    "fail": "percpu_alloc_percpu_fail",
    "create": "percpu_create_chunk",
    "destroy": "percpu_destroy_chunk",
    "populate": "percpu_populate",
    "depopulate": "percpu_depopulate",
    "queue": "workqueue_queue_work",
    "work": "workqueue_execute_start",
    "console": "console",
    "page-alloc": "mm_page_alloc",
    "page-free": "mm_page_free",
    "kmalloc": "kmalloc",
    "kfree": "kfree",
    "flush": "tlb_flush",
    "fault": "page_fault_kernel",
    "cpuhp": "cpuhp_enter",
    "insmod": "module_load",
    "rmmod": "module_free",
}


def where(session: Session, *remarks: str) -> Output:
    """Return the present position and what happened at this very step."""
    rows: list[tuple[Cell, ...]] = []
    number = session.event_index - 1
    while number >= 0 and session.event(number).step == session.step:
        rows.insert(0, event_row(session, number))
        number -= 1
    notes = [*remarks, *fault_lines(session)]
    title = f"step {session.step} of {session.end_step} ({session.percent}%)"
    lines = [title]
    for _, event_number, _, cpu, name, line, task, fields in rows:
        source = f" [{task or ''} line {line}]".replace("[ ", "[") if line else ""
        lines.append(f"  #{event_number} cpu {cpu} {name}: {fields}{source}")
    table = Table(title, COLUMNS, tuple(rows), tuple(notes))
    return Output((*lines, *notes), table, ok=session.machine.fault is None)


async def _move(seat: Seat, step: int | None, edge: int, remark: str) -> Output:
    """Go to a step, or where there is none, to an end of the run, and say so."""
    session = seat.session
    await session.go(edge if step is None else step, seat.progress)
    return where(session, *((remark,) if step is None else ()))


async def step(seat: Seat, count: int = 1) -> Output:
    """Take steps; beyond the newest one the machine goes on as long as something runs."""
    session = seat.session
    goal = session.step + count
    await session.go(goal, seat.progress)
    if session.step < goal:
        await session.run(goal - session.step)
    reached = session.step >= goal or session.machine.fault is not None
    return where(session, *(() if reached else ("nothing runs any more: this is the end",)))


async def back(seat: Seat, count: int = 1) -> Output:
    """Go back so many steps."""
    session = seat.session
    at_start = session.step - count < session.first_step
    await session.go(max(session.step - count, session.first_step), seat.progress)
    return where(session, *(("this is the start",) if at_start else ()))


async def next_call(seat: Seat) -> Output:
    """Go to where the call under way, or the next one, has ended."""
    session = seat.session
    goal = session.next_call_step()
    if goal is None and session.has_more:
        await session.run()
        return where(session)
    return await _move(seat, goal, session.end_step, "no further call: this is the end")


async def previous_call(seat: Seat) -> Output:
    """Go to where the call before began."""
    session = seat.session
    goal = session.previous_call_step()
    return await _move(seat, goal, session.first_step, "no call before this: this is the start")


async def next_event(seat: Seat) -> Output:
    """Go to the step of the next event."""
    session = seat.session
    goal = session.next_event_step()
    remark = "no further event: this is the end"
    if session.has_more:
        remark = "no further event yet: step or run lets the calls under way go on"
    return await _move(seat, goal, session.end_step, remark)


async def previous_event(seat: Seat) -> Output:
    """Go to the step of the event before."""
    session = seat.session
    goal = session.previous_event_step()
    return await _move(seat, goal, session.first_step, "no event before this: this is the start")


async def goto(seat: Seat, position: int) -> Output:
    """Go to a position."""
    return await _move(seat, position, position, "")


async def proceed(seat: Seat, *kinds: str) -> Output:
    """Go to the next chunk event, or the next of the kinds named."""
    session = seat.session
    goal = session.mark_step(_marks(kinds), forward=True)
    return await _move(seat, goal, session.end_step, "none further on: this is the end")


async def reverse_proceed(seat: Seat, *kinds: str) -> Output:
    """Go to the chunk event before, or the last of the kinds named."""
    session = seat.session
    goal = session.mark_step(_marks(kinds), forward=False)
    return await _move(seat, goal, session.first_step, "none before this: this is the start")


def _marks(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(MARK_OF_WORD[kind] for kind in kinds) or CHUNK_MARKS


async def until(seat: Seat, event: str, *conditions: str) -> Output:
    """Go to the next event of a name whose fields are as wished."""
    session = seat.session
    goal = await _find_event(session, event, conditions, forward=True)
    return await _move(seat, goal, session.end_step, f"no such {event} further on: this is the end")


async def reverse_until(seat: Seat, event: str, *conditions: str) -> Output:
    """Go back to the last event of a name whose fields are as wished."""
    session = seat.session
    goal = await _find_event(session, event, conditions, forward=False)
    remark = f"no such {event} before this: this is the start"
    return await _move(seat, goal, session.first_step, remark)


async def _find_event(
    session: Session, name: str, conditions: tuple[str, ...], *, forward: bool
) -> int | None:
    wanted = EVENT_TYPES[SHORT_EVENTS.get(name, name)]
    checks = [_condition(wanted, text) for text in conditions]
    before = session.timeline.events_before(session.step - 1)
    ahead = range(session.event_index, session.nr_events)
    numbers = ahead if forward else range(before - 1, -1, -1)
    for number in numbers:
        if number % LOOKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        at = session.event(number)
        if isinstance(at.event, wanted) and all(_holds(at, *check) for check in checks):
            return at.step
    return None


def _condition(event: type, text: str) -> tuple[str, str]:
    """Return (field, value) of `field=value`. Raises CommandError: no such field."""
    name, equals, value = text.partition("=")
    fields: tuple[str, ...] = ("cpu", *getattr(event, "_fields", ()))
    if not equals or name not in fields:
        fields_text = " ".join(fields)
        raise CommandError(f"{text!r}: expected FIELD=VALUE with a field of {fields_text}")
    return name, value


def _holds(at: EventAt, name: str, value: str) -> bool:
    actual: int | str | bool = at.cpu if name == "cpu" else getattr(at.event, name)
    return actual == value if isinstance(actual, str) else actual == parse_number(value)


EVENT = one_of(*SHORT_EVENTS, *EVENT_NAMES.values())
MARK = one_of(*MARK_OF_WORD)
COUNT = Argument("N", NUMBER, optional=True)
KINDS = Argument("KIND", MARK, optional=True, many=True)
WISHES = (
    Argument("EVENT", Kind(EVENT.read, lambda session: SHORT_EVENTS)),
    Argument("FIELD=VALUE", TEXT, optional=True, many=True),
)


async def show_where(seat: Seat) -> Output:
    """Say where the session stands."""
    return where(seat.session)


COMMANDS = (
    Command("step", ("s",), GROUP, (COUNT,), "take N steps, or one", step),
    Command("back", ("b", "reverse-step", "rs"), GROUP, (COUNT,), "go back N steps, or one", back),
    Command("next", ("n",), GROUP, (), "to the end of this call, or of the next", next_call),
    Command("prev", ("p",), GROUP, (), "to the beginning of the call before", previous_call),
    Command("event", ("e", "next-event"), GROUP, (), "to the next event", next_event),
    Command("prev-event", ("pe",), GROUP, (), "to the event before", previous_event),
    Command(
        "goto", ("g",), GROUP, (Argument("POSITION", POSITION),),
        "to a step, 50%, +10, -10, #event, @bookmark, start or end", goto,
    ),
    Command(
        "continue", ("c",), GROUP, (KINDS,),
        "to the next chunk created or destroyed, or of: create destroy fail", proceed,
    ),
    Command(
        "reverse-continue", ("rc",), GROUP, (KINDS,),
        "to the last chunk created or destroyed, or of: create destroy fail", reverse_proceed,
    ),
    Command(
        "until", ("u",), GROUP, WISHES,
        "to the next such event, as in: until alloc size=64 cpu=1", until,
    ),
    Command(
        "reverse-until", ("ru",), GROUP, WISHES,
        "back to the last such event, as in: reverse-until free ptr=0x37000", reverse_until,
    ),
    Command("where", ("w",), GROUP, (), "the present step and its events", show_where),
)  # fmt: skip
