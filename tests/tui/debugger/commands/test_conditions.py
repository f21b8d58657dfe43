from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tui.debugger.commands.conditions import expression_text, is_expression
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session
from tui.debugger.watches import WATCHES_MAX


def values(session: Session, read: Callable[[Session], object]) -> list[object]:
    """The slow model: every step sought afresh."""
    here, found = session.step, []
    for step in range(session.end_step + 1):
        session.go_now(step)
        found.append(read(session))
    session.go_now(here)
    return found


def nr_alloc(session: Session) -> object:
    return session.machine.percpu.chunks[0].nr_alloc


def test_until_stops_where_a_condition_becomes_true_from_every_step(busy: Session, tell) -> None:
    truth = [value == 2 for value in values(busy, nr_alloc)]
    risen = [step for step in range(1, len(truth)) if truth[step] and not truth[step - 1]]
    assert len(risen) == 2  # upwards, and again downwards after the free
    for here in range(busy.end_step + 1):
        busy.go_now(here)
        output = tell("until chunk[0].nr_alloc == 2")
        expected = next((step for step in risen if step > here), None)
        assert busy.step == (busy.end_step if expected is None else expected)
        said = (
            "chunk[0].nr_alloc == 2: false → true"
            if expected
            else "does not become true further on"
        )
        assert said in output.lines[-1]
        busy.go_now(here)
        output = tell("reverse-until chunk[0].nr_alloc == 2")
        expected = next((step for step in reversed(risen) if step < here), None)
        assert busy.step == (0 if expected is None else expected)


def test_what_is_true_from_the_first_step_on_never_became_so(busy: Session, tell) -> None:
    tell("goto end")
    assert "does not become true before this" in tell("reverse-until step >= 0").lines[-1]
    assert busy.step == 0


def test_a_bound_stops_a_search_and_says_so(busy: Session, tell) -> None:
    end = busy.end_step
    tell("goto start")
    assert "bound" in tell("until chunk[0].nr_alloc == 2 --until 3").lines[-1]
    assert busy.step == 3
    assert "bound" in tell("until alloc size=32000 --until 5").lines[-1]
    assert busy.step == 5
    assert "bound" in tell("continue --until 7").lines[-1]
    tell("goto end")
    assert "bound" in tell(f"reverse-until alloc size=12345 --until {end - 4}").lines[-1]
    assert busy.step == end - 4
    with pytest.raises(CommandError, match="ahead of"):
        tell("reverse-until fault == 1 --until end")


def test_a_bound_that_is_the_answer_is_reached(busy: Session, tell) -> None:
    tell("goto start")
    tell("until chunk[0].nr_alloc == 2")
    step = busy.step
    for words in (f"until chunk[0].nr_alloc == 2 --until {step}",):
        tell("goto start")
        assert "false → true" in tell(words).lines[-1]
    tell("goto end", f"reverse-until chunk[0].nr_alloc == 2 --until {step}")
    assert busy.step >= step


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("alloc", False), ("alloc size=64 cpu=1", False), ("alloc call_site=foo+0x1a/0x2b", False),
        ("fault", False), ("fault == 1", True), ("fault or work.queued_cpu >= 0", True),
        ("fault.reason", True), ("chunk[1].free_bytes<=4096", True), ("percpu.nr_chunks==3", True),
        ("not fault", True), ("step >= 5", True), ("alloc x", False), ("nonsense", False),
        ("alloc gfp_flags=GFP_KERNEL|__GFP_ZERO", False), ("console text=a.b", False), ("-5 < step", True),
    ],
)  # fmt: skip
def test_conditions_and_events_are_told_apart(line: str, is_one: bool) -> None:
    assert is_expression(tuple(line.split())) is is_one


def test_a_text_with_blanks_gets_its_quotes_back() -> None:
    assert expression_text(("log.last", "==", "a b")) == 'log.last == "a b"'
    assert expression_text(("a < b and c",)) == "a < b and c"
    assert expression_text(("step", ">=", 5)) == "step >= 5"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("until chunk[0].nix == 1", "column 10: chunk[N] has no field 'nix'"),
        ("until percpu[0x0]", "column 1: percpu[0] is a row of values"),
        ("until step >", "column 7: the end: expected a number"),
        ("until --until 0", "EVENT or a condition is missing"),
        ("until nonsense", "'nonsense': expected alloc or free"),
        ("continue nix", "expected create or destroy or fail"),
        ("watch chunk[0", "column 8: the end: expected ']'"),
        ("unwatch 5", "there is no watch 5; there are: none"),
    ],
)
def test_what_is_wrong_is_named(tell, line: str, text: str) -> None:
    with pytest.raises(CommandError) as refused:
        tell(line)
    assert text in str(refused.value)


def test_continue_stops_at_every_change_of_what_is_watched_both_ways(busy: Session, tell) -> None:
    tell("goto end", "free 1 0")  # steps in which nothing changes
    alloc, chunks = values(busy, nr_alloc), values(busy, lambda s: len(s.machine.percpu.chunks))
    changed = [
        step for step in range(1, busy.end_step + 1)
        if alloc[step] != alloc[step - 1] or chunks[step] != chunks[step - 1]
    ]  # fmt: skip
    tell("watch chunk[0].nr_alloc", "watch percpu.nr_chunks", "goto start")
    forth = []
    for _ in changed:
        output = tell("continue")
        forth.append(busy.step)
        assert any(line.startswith("watch ") and " → " in line for line in output.lines)
        assert output.table is not None and output.table.notes[-1] == output.lines[-1]
    assert forth == changed
    assert "nothing that is watched changes further on" in tell("continue").lines[-1]
    back = [(tell("reverse-continue"), busy.step)[1] for _ in changed]
    assert back == changed[::-1]
    assert "this is the start" in tell("reverse-continue").lines[-1]


def test_a_kind_or_no_watch_makes_continue_what_it_was(busy: Session, tell) -> None:
    created = [mark.step for mark in busy.marks if mark.kind == "c"]
    tell("watch chunk[0].nr_alloc", "goto start", "continue create")
    assert busy.step == created[0]
    tell("unwatch 1", "goto end", "reverse-continue")
    assert busy.step == created[-1]


def test_watches_are_listed_and_let_go_and_limited(busy: Session, tell) -> None:
    tell("watch 'chunk[ 0 ].nr_alloc'", "watch step")
    assert tell("watch").table.rows == ((1, "chunk[0].nr_alloc"), (2, "step"))
    assert tell("unwatch 1").table.rows == ((2, "step"),)
    assert tell("unwatch").table.rows == ()
    for _ in range(WATCHES_MAX):
        tell("watch step")
    with pytest.raises(CommandError, match="watched already"):
        tell("watch step")


def test_whoever_gives_up_a_condition_stands_where_they_stood(demo: Session) -> None:
    demo.go_now(demo.end_step // 2)
    before = (demo.step, demo.digest())

    async def given_up(line: str, slices: int) -> None:
        task = asyncio.create_task(execute(demo, line))
        for _ in range(slices):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for line in (
        "until fault == 1",
        "reverse-until log.nr_lines > 100000",
        "until console level=77",
    ):
        asyncio.run(given_up(line, 2))
        assert (demo.step, demo.digest()) == before, line
