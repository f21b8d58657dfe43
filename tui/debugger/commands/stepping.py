"""Stepping: forwards, each with its way back, and each no farther than `--until POSITION` if one is given.

At the newest step of a run there is nothing recorded further on; then step, next and finish let the
machine itself go on, if a call is under way.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from snapshots.history.call_span import call_begin, call_under_way
from snapshots.history.change_index import SLICE_S
from tui.debugger.commands.options import BOUND, COUNT, Options, check_bound, read_options
from tui.debugger.commands.registry import GOAL, Argument, Command, Seat, Value
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.searching import answer_of
from tui.debugger.session import Session
from tui.debugger.table import Cell, Table
from tui.debugger.views.events import COLUMNS, event_row
from tui.debugger.views.fault import fault_lines

GROUP = "stepping"
AT_BOUND = "this is the bound that --until set"


def where(session: Session, *remarks: str) -> Output:
    """Return the present position and what happened at this very step."""
    rows: list[tuple[Cell, ...]] = []
    number = session.event_index - 1
    while number >= 0 and session.event(number).step == session.step:
        rows.insert(0, event_row(session, number))
        number -= 1
    notes = [*remarks, *fault_lines(session)]
    title = f"step {session.here}"
    lines = [title]
    for _, event_number, _, cpu, name, line, task, fields in rows:
        source = f" [{task or ''} line {line}]".replace("[ ", "[") if line else ""
        lines.append(f"  #{event_number} cpu {cpu} {name}: {fields}{source}")
    table = Table(title, COLUMNS, tuple(rows), tuple(notes))
    return Output((*lines, *notes), table, ok=session.machine.fault is None)


async def move(
    seat: Seat, step: int | None, *, forward: bool, until: int | None = None, remark: str = ""
) -> Output:
    """Go to a step, or where there is none, as far as the run or the bound leads, and say so."""
    session = seat.session
    edge = session.end_step if forward else session.first_step
    goal = edge if step is None else step
    remarks = (remark,) if step is None and remark else ()
    if until is not None and (goal > until if forward else goal < until):
        goal, remarks = until, (AT_BOUND,)
    elif until is not None and step is None and goal == until:
        remarks = (AT_BOUND,)
    await session.go(goal, seat.progress)
    return where(session, *remarks)


def only_bound(seat: Seat, words: tuple[Value, ...], *, forward: bool) -> int | None:
    """Return the bound of a command that takes nothing else. Raises CommandError."""
    return _bound_of(seat, read_options(seat.session, words), 0, forward=forward)


def _bound_of(seat: Seat, options: Options, nr_words: int, *, forward: bool) -> int | None:
    if len(options.words) > nr_words:
        raise CommandError(f"{options.words[nr_words]!r} is too much: expected --until POSITION")
    return check_bound(seat.session, options.until, forward=forward)


def _count_and_bound(
    seat: Seat, words: tuple[Value, ...], *, forward: bool
) -> tuple[int, int | None]:
    options = read_options(seat.session, words)
    until = _bound_of(seat, options, 1, forward=forward)
    count = options.words[0] if options.words else 1
    if not isinstance(count, int):
        raise CommandError(f"{count!r} is no number of steps")
    return count, until


async def step(seat: Seat, *words: Value) -> Output:
    """Take steps; beyond the newest one the machine goes on as long as something runs."""
    session = seat.session
    count, until = _count_and_bound(seat, words, forward=True)
    goal = session.step + count
    if until is not None and goal > until:
        await session.go(until, seat.progress)
        return where(session, AT_BOUND)
    await session.go(goal, seat.progress)
    if session.step < goal:
        await session.run(goal - session.step)
    reached = session.step >= goal or session.machine.fault is not None
    return where(session, *(() if reached else ("nothing runs any more: this is the end",)))


async def back(seat: Seat, *words: Value) -> Output:
    """Go back so many steps."""
    session = seat.session
    count, until = _count_and_bound(seat, words, forward=False)
    goal = session.step - count
    step = goal if goal >= session.first_step else None
    return await move(seat, step, forward=False, until=until, remark="this is the start")


async def next_call(seat: Seat, *words: Value) -> Output:
    """Go to where the call under way, or the next one, has ended."""
    session = seat.session
    until = only_bound(seat, words, forward=True)
    goal = session.next_call_step()
    if goal is None and session.has_more and until is None:
        await session.run()
        return where(session)
    remark = "no further call: this is the end"
    return await move(seat, goal, forward=True, until=until, remark=remark)


async def previous_call(seat: Seat, *words: Value) -> Output:
    """Go to where the call before began."""
    until = only_bound(seat, words, forward=False)
    goal = seat.session.previous_call_step()
    remark = "no call before this: this is the start"
    return await move(seat, goal, forward=False, until=until, remark=remark)


async def finish(seat: Seat, *words: Value) -> Output:
    """Run to the end of the kernel call under way on the CPU that ran last; other CPUs run as they do."""
    session = seat.session
    until = only_bound(seat, words, forward=True)
    timeline = session.timeline
    timeline.seek(session.step)  # another branch may have moved the machine
    call = call_under_way(session.machine)
    if call is None:
        raise CommandError("no call is under way here: next goes through the next one")
    deadline = perf_counter() + SLICE_S
    while not call.done and (until is None or session.step < until):
        before = session.step
        timeline.advance(before + 1)
        if session.step == before:
            break
        if perf_counter() > deadline:
            if seat.progress is not None:
                seat.progress(session.step, session.end_step if until is None else until)
            await asyncio.sleep(0)
            deadline = perf_counter() + SLICE_S
    named = f"{call.name} on cpu {call.cpu}"
    if call.done:
        return where(session, f"{named} has ended")
    if session.step == until:
        return where(session, AT_BOUND)
    return where(session, f"{named} does not come to its end here")


async def reverse_finish(seat: Seat, *words: Value) -> Output:
    """Go back to before the kernel call under way on the CPU that ran last took its first step."""
    session = seat.session
    until = only_bound(seat, words, forward=False)
    session.timeline.seek(session.step)
    call = call_under_way(session.machine)
    goal = await answer_of(call_begin(session.timeline), seat.progress, session.step)
    if call is None or goal is None:
        raise CommandError("no call has begun here: prev goes to where the one before began")
    output = await move(seat, goal, forward=False, until=until)
    remark = f"{call.name} on cpu {call.cpu} begins with the next step it takes"
    return output if session.step > goal else where(session, remark)


async def next_event(seat: Seat, *words: Value) -> Output:
    """Go to the step of the next event."""
    session = seat.session
    until = only_bound(seat, words, forward=True)
    goal = session.next_event_step()
    remark = "no further event: this is the end"
    if session.has_more:
        remark = "no further event yet: step or run lets the calls under way go on"
    return await move(seat, goal, forward=True, until=until, remark=remark)


async def previous_event(seat: Seat, *words: Value) -> Output:
    """Go to the step of the event before."""
    until = only_bound(seat, words, forward=False)
    goal = seat.session.previous_event_step()
    remark = "no event before this: this is the start"
    return await move(seat, goal, forward=False, until=until, remark=remark)


async def goto(seat: Seat, position: str) -> Output:
    """Go to a position; a bookmark may lead to another branch."""
    await seat.session.go_to(position, seat.progress)
    return where(seat.session)


async def show_where(seat: Seat) -> Output:
    """Say where the session stands."""
    return where(seat.session)


COMMANDS = (
    Command("step", ("s", "si", "stepi"), GROUP, (COUNT, BOUND), "take N steps, or one", step),
    Command(
        "back", ("b", "reverse-step", "rs", "reverse-stepi", "rsi"), GROUP, (COUNT, BOUND),
        "go back N steps, or one", back,
    ),
    Command("next", ("n",), GROUP, (BOUND,), "to the end of this call, or of the next", next_call),
    Command("prev", ("pc",), GROUP, (BOUND,), "to the beginning of the call before", previous_call),
    Command(
        "finish", ("fin",), GROUP, (BOUND,),
        "to the very end of the call under way on the CPU that ran last", finish,
    ),
    Command(
        "reverse-finish", ("rf",), GROUP, (BOUND,), "back to before that call took its first step",
        reverse_finish,
    ),
    Command("event", ("e", "next-event"), GROUP, (BOUND,), "to the next event", next_event),
    Command("prev-event", ("pe",), GROUP, (BOUND,), "to the event before", previous_event),
    Command(
        "goto", ("g",), GROUP, (Argument("POSITION", GOAL),),
        "to a step, 50%, +10, -10, #event, @bookmark, start or end", goto,
    ),
    Command("where", ("w",), GROUP, (), "the present step and its events", show_where),
)  # fmt: skip
