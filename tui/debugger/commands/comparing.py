"""Comparing: two moments of a run, two branches, two recordings.

Whatever is compared, the session stands afterwards where it stood. compare_moments() and compare_runs()
take time lines, so that whoever knows branches and files by name can call them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TypeAlias

from snapshots.diff.parting import PartingSearch, read_rows
from snapshots.diff.rows import DiffRow
from snapshots.diff.state_diff import in_order
from snapshots.timeline import Timeline
from tui.debugger.commands.branching import BRANCH
from tui.debugger.commands.registry import POSITION, Argument, Command, Seat
from tui.debugger.output import Output
from tui.debugger.render import table_text
from tui.debugger.views.diff import diff_view
from tui.debugger.views.parting import parting_lines, parting_view

GROUP = "comparing"
ROWS_IN_TEXT = 400  # of an answer; --json has all

Moment: TypeAlias = tuple[Timeline, int]


async def diff(seat: Seat, one: int, other: int | None = None) -> Output:
    """Show what is not the same at two positions of the present run; the second one: here."""
    timeline = seat.session.timeline
    goal = seat.session.step if other is None else other
    names = (f"step {one}", f"step {goal}")
    return await compare_moments(seat, (timeline, one), (timeline, goal), names)


async def parting(seat: Seat, one: int, other: int | None = None) -> Output:
    """Show where two branches part; the second one: the present branch."""
    tree = seat.session.tree
    branches = tree.branches[one], tree.current if other is None else tree.branches[other]
    names = branches[0].name, branches[1].name
    return await compare_runs(seat, branches[0].timeline, branches[1].timeline, names)


async def compare_moments(seat: Seat, one: Moment, other: Moment, names: tuple[str, str]) -> Output:
    """Show what is not the same at two moments, of one run or of two; names: how they are called.

    Raises ConfigError or RecordingError if a moment cannot be reached.
    """
    rows: list[DiffRow] = []
    await _through(seat, moment_slices(one, other, rows), max(one[1], other[1]))
    table = diff_view(in_order(rows), " ► ".join(names), seat.rows_max)
    return Output(table=table)


async def compare_runs(
    seat: Seat, one: Timeline, other: Timeline, names: tuple[str, str]
) -> Output:
    """Show where two runs part: the step, the first input and event that differ, the diff there.

    Raises ConfigError or RecordingError if a run cannot be gone through.
    """
    search = PartingSearch(one, other)
    await _through(seat, search.slices(), min(one.end_step, other.end_step))
    found = search.found
    if found is None:
        return Output((f"{names[0]} and {names[1]} are the same up to step {one.end_step}",))
    lines = parting_lines(found, names)
    if not found.ended:
        text = diff_view(found.rows, f"at step {found.step}", ROWS_IN_TEXT)
        lines += table_text(text).splitlines()
    return Output(tuple(lines), parting_view(found, names))


def moment_slices(one: Moment, other: Moment, rows: list[DiffRow]) -> Iterator[int]:
    """Append to rows what is not the same at two moments, unsorted; yields now and then.

    Of two runs, what was born since they parted is told apart by name. Moves the machines.
    """
    since: int | None = None
    if one[0] is not other[0]:
        search = PartingSearch(one[0], other[0])
        yield from search.compare_inputs()
        first = max(one[0].first_step, other[0].first_step)
        since = min(max(search.same_until, first), one[1], other[1])
    yield from read_rows(one, other, since, rows)


async def _through(seat: Seat, slices: Iterator[int], goal: int) -> None:
    """Go through slices, giving way between them; stand at the end where the session stood."""
    session = seat.session
    timeline, step = session.timeline, session.step
    try:
        for here in slices:
            if seat.progress is not None:
                seat.progress(here, goal)
            await asyncio.sleep(0)
        for _ in timeline.moves(step):
            await asyncio.sleep(0)
    finally:
        if timeline.is_stale or timeline.step != step:
            timeline.seek(step)  # cancelled, or a moment could not be reached


COMMANDS = (
    Command(
        "diff", (), GROUP,
        (Argument("POSITION", POSITION), Argument("POSITION", POSITION, optional=True)),
        "what is not the same at two positions; the second one: here", diff,
    ),
    Command(
        "parting", (), GROUP,
        (Argument("BRANCH", BRANCH), Argument("BRANCH", BRANCH, optional=True)),
        "where two branches part: step, input, event and diff; the second one: this", parting,
    ),
)  # fmt: skip
