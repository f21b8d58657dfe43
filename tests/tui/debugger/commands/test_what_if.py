"""Edits as they are typed: a branch comes of each, and the run that was edited stays."""

from __future__ import annotations

import asyncio

import pytest

from kernel_sim.mm.gfp import GFP_ATOMIC
from snapshots.what_if import edit as edit_module
from tui.debugger.commands.registry import Seat
from tui.debugger.commands.what_if import drop
from tui.debugger.console import answer, complete
from tui.debugger.errors import CommandError
from tui.debugger.session import Session

LINES = ("alloc 0 64", "alloc 1 128", "write 2 0x37040 7", "free 3 0x37000")


@pytest.fixture
def run(session: Session, tell) -> Session:
    tell(*LINES)
    return session


def inputs_of(session: Session) -> list[tuple[object, ...]]:
    timeline = session.timeline
    rows = [timeline.input_at(number) for number in range(timeline.nr_inputs)]
    return [(row.do, row.cpu, row.args[0]) for row in rows]


def test_a_dropped_input_takes_along_who_names_its_result(run: Session, tell) -> None:
    old, end = run.timeline, run.end_step
    output = tell("drop 0")
    assert output.lines[0] == "branch b1 from step 0 on: 2 inputs, 1 dropped, 1 dropped along"
    assert output.table.rows[1][:2] == ("dropped along", 3)
    assert inputs_of(run) == [("pcpu_alloc", 1, 128), ("this_cpu_write", 2, 0x37000)]
    assert run.timeline is not old
    assert old.end_step == end and old.nr_inputs == 4
    assert run.tree.current.note == "drop 0"


def test_raw_keeps_the_number_it_had(run: Session, tell) -> None:
    output = tell("drop 0 raw")
    assert [row[0] for row in output.table.rows] == ["dropped"]
    assert inputs_of(run)[2] == ("free_percpu", 3, 0x37000)


def test_the_numbers_are_those_that_inputs_shows(run: Session, tell) -> None:
    shown = {row[1]: row[4] for row in tell("inputs").table.rows}
    assert shown[2] == "this_cpu_write"
    tell("drop 2")
    assert [do for do, _, _ in inputs_of(run)] == ["pcpu_alloc", "pcpu_alloc", "free_percpu"]


def test_an_argument_is_altered_by_name_place_and_flag_word(run: Session, tell) -> None:
    tell("alter 0 size=4096 gfp=GFP_ATOMIC cpu=2 reserved=no 1=64")
    given = run.timeline.input_at(0)
    assert (given.cpu, given.args[:4]) == (2, (4096, 64, False, GFP_ATOMIC))
    tell("alter 1 size=0x80")
    assert run.timeline.input_at(1).args[0] == 128


def test_an_input_is_moved_before_another_or_to_a_step(run: Session, tell) -> None:
    tell("move 1 0")
    assert [size for _, _, size in inputs_of(run)[:2]] == [128, 64]
    tell(f"move 0 step={run.end_step}")
    assert inputs_of(run)[-1][2] == 128


def test_another_machine_is_a_branch_with_a_machine_of_its_own(run: Session, tell) -> None:
    output = tell("what-if percpu.dynamic_bytes=49152 schedule.policy=random")
    assert output.ok
    config = run.machine.config
    assert (config.percpu.dynamic_bytes, config.schedule.policy) == (49152, "random")
    assert run.tree.current.has_own_machine
    assert run.timeline.nr_inputs == 4


def test_a_branch_that_ends_in_a_fault_says_so(run: Session, tell) -> None:
    output = tell("alter 3 ptr=0x999")
    assert not output.ok
    assert any("free of 0x999" in line for line in output.lines)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("drop", "is missing"),
        ("drop raw", "which inputs"),
        ("drop 77", "input 77: there is none"),
        ("drop 1 1", "it was dropped"),
        ("move 1 1", "before itself"),
        ("move 1 step=x", "expected an input's number"),
        ("alter 9 size=1", "there is no input 9; expected 0 to 3"),
        ("alter 0 raw", "nothing to change"),
        ("alter 0 size", "expected NAME=VALUE"),
        ("alter 0 colour=1", "expected one of size, align"),
        ("alter 0 size=large", "expected a whole number"),
        ("alter 0 reserved=maybe", "expected yes or no"),
        ("alter 0 gfp=GFP_FAST", "gfp"),
        ("alter 0 cpu=99", "no such CPU"),
        ("alter 0 do=fly", "does not take its arguments"),
        ("what-if colour=1", "expected TABLE.KEY"),
        ("what-if percpu.atom_bytes=7", "expected a whole number from 4096"),
        ("what-if percpu.colour=7", "colour"),
    ],
)
def test_what_is_wrong_says_what_was_expected_and_changes_nothing(
    run: Session, tell, line: str, said: str
) -> None:
    before = (run.timeline, run.step, run.digest())
    with pytest.raises(CommandError, match=said):
        tell(line)
    assert (run.timeline, run.step, run.digest()) == before


def test_who_gives_up_half_way_stands_where_they_stood(run: Session, tell, monkeypatch) -> None:
    tell("goto 5")
    timeline, digest = run.timeline, run.digest()
    real = edit_module.Player.play

    def stopped(self, tail_steps):  # type: ignore[no-untyped-def]
        yield from ()
        for told in real(self, tail_steps):
            yield told
            raise asyncio.CancelledError

    monkeypatch.setattr(edit_module.Player, "play", stopped)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(drop(Seat(run), 0))
    assert (run.timeline, run.step, run.digest()) == (timeline, 5, digest)
    assert len(run.tree.branches) == 1


def test_json_lists_all_that_followed(run: Session) -> None:
    text, ok = asyncio.run(answer(run, "drop 0", as_json=True))
    assert ok and '"dropped along"' in text


def test_completion_offers_names_and_keys(run: Session) -> None:
    assert "size=" in complete(run, "alter 0 si")
    assert "percpu.atom_bytes=" in complete(run, "what-if percpu.a")


def test_a_branch_tells_the_flags_that_were_altered_by_name(run: Session, tell) -> None:
    tell("alter 0 gfp=GFP_ATOMIC size=32")
    assert run.tree.current.note == "alter 0 gfp=GFP_ATOMIC; alter 0 size=32"
