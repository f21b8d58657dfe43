from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.debugger.commands import asking_history
from tui.debugger.console import complete, execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.table import Table

FIRST_PTR = 0x37000


def free_bytes(session: Session) -> list[int]:
    """The slow model: chunk 0's free bytes at every step, each sought afresh."""
    here, found = session.step, []
    for step in range(session.end_step + 1):
        session.go_now(step)
        found.append(session.machine.percpu.chunks[0].free_bytes)
    session.go_now(here)
    return found


def changed(session: Session) -> list[tuple[int, int, int]]:
    free = free_bytes(session)
    steps = [step for step in range(1, len(free)) if free[step] != free[step - 1]]
    return [(step, free[step - 1], free[step]) for step in steps]


def cells(table: Table | None) -> list[tuple[object, ...]]:
    assert table is not None
    return [row[:3] for row in table.rows]


def test_last_walks_back_through_all_changes_and_stands_before_each(busy: Session, tell) -> None:
    rows = changed(busy)
    assert len(rows) >= 4
    tell("goto end")
    for row in reversed(rows):
        output = tell("last chunk[0].free_bytes")
        assert cells(output.table) == [row]
        assert busy.step == row[0] - 1
        tell("step")
        assert cells(tell("last chunk[0].free_bytes --stay").table) == [
            row
        ]  # it counts at its own step
        assert busy.step == row[0]
        tell("back")
    here = busy.step
    assert "did not change" in tell("last chunk[0].free_bytes").lines[0]
    assert busy.step == here


def test_last_tells_who_did_it(busy: Session, tell) -> None:
    tell("goto end")
    line = tell(f"last area[{FIRST_PTR}].live --stay").lines[0]
    assert (
        line.endswith("by free_percpu on cpu 0")
        and f"area[{FIRST_PTR:#x}].live: true → false" in line
    )
    assert busy.step == busy.end_step


def test_first_finds_the_first_change_wherever_one_stands(busy: Session, tell) -> None:
    first = changed(busy)[0]
    tell("goto 50%")
    assert cells(tell("first chunk[0].free_bytes --stay").table) == [first]
    assert cells(tell("first chunk[0].free_bytes").table) == [first]
    assert busy.step == first[0] - 1
    assert "does not change up to step 1" in tell("first chunk[0].free_bytes --until 1").lines[0]


def test_a_bound_hides_older_changes(busy: Session, tell) -> None:
    newest = changed(busy)[-1][0]
    tell("goto end", "alloc 2 16", f"goto {newest + 1}")
    assert cells(tell(f"last chunk[0].free_bytes --stay --until {newest}").table)
    assert not cells(tell(f"last chunk[0].free_bytes --stay --until {newest + 1}").table)


@pytest.mark.parametrize("line", ["changes {} {} {}", "changes {} --from {} --until {}"])
def test_changes_lists_a_part_of_the_run(busy: Session, tell, line: str) -> None:
    rows = changed(busy)
    assert cells(tell("changes chunk[0].free_bytes").table) == rows
    low, high = rows[0][0], rows[-2][0]
    expected = [row for row in rows if low < row[0] <= high]
    assert cells(tell(line.format("chunk[0].free_bytes", low, high)).table) == expected


def test_changes_takes_numbers_that_belong_to_the_expression(busy: Session, tell) -> None:
    table = tell("changes chunk[0].free_bytes < 100000 0 50%").table
    assert table is not None and table.title.startswith("chunk[0].free_bytes < 0x186a0: ")
    with pytest.raises(CommandError, match="the earlier one first"):
        tell("changes step --from end --until start")


def test_when_lists_where_it_became_true(busy: Session, tell) -> None:
    free = free_bytes(busy)
    limit = sorted(free)[len(free) // 2]
    risen = [s for s in range(1, len(free)) if free[s] < limit <= free[s - 1]]
    table = tell(f"when chunk[0].free_bytes < {limit}").table
    assert table is not None and [row[0] for row in table.rows] == risen


def test_a_long_list_is_cut_and_says_so(
    busy: Session, tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking_history, "CHANGES_MAX", 5)
    table = tell("changes step").table
    assert [row[0] for row in table.rows] == [1, 2, 3, 4, 5]
    assert "only 5 changes are looked at, up to step 5: ask on --from 5" in table.title
    assert len(tell("changes step 0 5").table.rows) == 5
    assert "only" not in tell("changes step 0 5").table.title


def test_print_shows_what_is_now(busy: Session, tell) -> None:
    for step in (0, 7, busy.end_step):
        busy.go_now(step)
        free = busy.machine.percpu.chunks[0].free_bytes
        assert tell("print chunk[0].free_bytes").lines == (f"chunk[0].free_bytes = {free}",)
        assert tell("p nr_events").lines == (f"nr_events = {busy.event_index}",)
    assert tell("p chunk[9].free_bytes").lines == ("chunk[9].free_bytes = missing",)
    assert tell("p area[0x37000].generation").lines == ("area[0x37000].generation = 1",)


def test_life_tells_born_freed_and_reused(busy: Session, tell) -> None:
    tell("goto end", "alloc 1 64")
    table = tell(f"life {FIRST_PTR:#x}").table
    assert table is not None
    assert [(row[0], row[2], row[3]) for row in table.rows] == [
        ("born", 0, 64), ("freed", 0, None), ("reused", 1, 64)
    ]  # fmt: skip
    for row in table.rows:
        assert busy.event_step(int(str(row[5]))) == row[1]
    with pytest.raises(CommandError, match="nothing was ever allocated"):
        tell("life 0x99999")


def test_fields_are_listed_and_offered(busy: Session, tell) -> None:
    every = tell("fields").table
    assert every is not None and len(every.rows) > 80
    chunk = tell("fields chunk").table
    assert (
        chunk is not None
        and ("chunk[N].free_bytes", "number", "bytes", "not allocated") in chunk.rows
    )
    assert "chunk[N].free_bytes" in complete(busy, "last chu")
    assert "vmalloc.nr_areas" in complete(busy, "print vm")
    assert complete(busy, "fields node") == ["node.zone", "node_bytes"]
    with pytest.raises(CommandError, match="there is no 'nix'"):
        tell("fields nix")


def test_a_branch_is_asked_for_itself(busy: Session, tell) -> None:
    tell("goto end")
    old = cells(tell("changes chunk[0].nr_alloc").table)
    tell("goto 50%", "alloc 3 16")
    new = cells(tell("changes chunk[0].nr_alloc").table)
    half = busy.step
    assert new != old and [row for row in new if row[0] < half // 2] == [
        row for row in old if row[0] < half // 2
    ]
    tell("alloc 3 16")
    assert len(cells(tell("changes chunk[0].nr_alloc").table)) == len(new) + 1


def test_a_question_gives_way_and_tells_how_far_it_is(demo: Session) -> None:
    demo.go_now(demo.end_step)
    told: list[tuple[int, int]] = []
    line = "last fault --stay"
    asyncio.run(execute(demo, line, lambda here, goal: told.append((here, goal))))
    assert len(told) > 10 and {goal for _, goal in told} == {0}
    assert [here for here, _ in told] == sorted((here for here, _ in told), reverse=True)


PIECES = [
    "chunk[0].free_bytes", "chunk[1].exists", "fault", "step", "log.last", "area[0x37000].live", "<",
    "==", "and", "not", "(", ")", "1", "4K", "percpu[0x37000]", "percpu[0x37000, 1, 1]", "'", '"a b"',
    "zone[0].free_pages", "--until", "--stay", "--from", "end", "start", "50%", "-1", "+1", "alloc",
    "size=64", "nr_events[console]", "cpu[0].call", "--nix", "[", "mem[step, 8]", "5", "create",
    "pte[1 << 47].present", "0xffffffffffffffff",
]  # fmt: skip
ASKING = [
    "print", "last", "first", "changes", "when", "life", "fields", "until", "reverse-until", "watch",
    "unwatch", "continue", "reverse-continue", "step", "back", "finish", "reverse-finish", "next",
    "prev", "event", "prev-event",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.sampled_from(ASKING), st.lists(st.sampled_from(PIECES), max_size=5)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_whatever_is_asked_answers_or_says_what_was_expected(
    boot_example: Callable[[str], Session], lines: list[tuple[str, list[str]]]
) -> None:
    session = boot_example("up1")
    for given_first in ("alloc 0 64", "alloc 0 32000", "free 0 0x23000"):
        with contextlib.suppress(CommandError):
            asyncio.run(execute(session, given_first))
    session.go_now(session.end_step // 2)
    end = session.end_step
    for word, rest in lines:
        try:
            asyncio.run(execute(session, " ".join((word, *rest))))
        except CommandError as problem:
            assert len(str(problem)) < 2000
        assert session.first_step <= session.step <= session.end_step == end
        here, digest = session.step, session.digest()
        session.go_now(0)
        session.go_now(here)
        assert session.digest() == digest
