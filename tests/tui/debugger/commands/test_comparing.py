"""Comparing moments and runs; whoever compares stands afterwards where they stood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kernel_sim.errors import KernelSimError
from snapshots.state_codec import state_digest
from tui.debugger.commands.comparing import compare_moments, compare_runs
from tui.debugger.commands.registry import Seat
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session

Tell = Callable[..., Output]


def groups(output: Output) -> list[object]:
    assert output.table is not None
    return [row[0] for row in output.table.rows]


def test_two_positions_are_compared_and_the_session_stays(session: Session, tell: Tell) -> None:
    tell("alloc 0 64", "alloc 1 128")
    here, digest = session.step, session.digest()
    output = tell("diff start end")
    assert output.table is not None
    assert output.table.title.startswith(f"step 0 ► step {here}: 2 areas born, ")
    assert (session.step, session.digest()) == (here, digest)
    assert groups(tell(f"diff {here}")) == []
    back = tell("diff end start").table
    assert back is not None
    assert ": 2 areas died, " in back.title


def test_a_position_alone_is_compared_with_here(session: Session, tell: Tell) -> None:
    tell("alloc 0 64", "alloc 1 128", "goto 3")
    table = tell("diff 0").table
    assert table is not None
    assert table.title.startswith("step 0 ► step 3: ")
    assert session.step == 3


def test_a_position_that_is_none_is_refused(tell: Tell) -> None:
    with pytest.raises(CommandError, match="position"):
        tell("diff nowhere")


def branched(session: Session, tell: Tell) -> tuple[object, object]:
    tell("alloc 0 64", "alloc 1 128")
    trunk = session.timeline
    tell("goto 4", "alloc 0 24")
    assert session.timeline is not trunk
    return trunk, session.timeline


def test_two_branches_part_and_the_session_stays(session: Session, tell: Tell) -> None:
    trunk, branch = branched(session, tell)
    here, digest = session.step, session.digest()
    told: list[tuple[int, int]] = []
    seat = Seat(session, progress=lambda at, goal: told.append((at, goal)))
    output = asyncio.run(compare_runs(seat, trunk, branch, ("trunk", "branch")))  # type: ignore[arg-type]
    assert output.lines[0].startswith("trunk and branch part at step ")
    assert output.lines[1].startswith("input 1: trunk: step ")
    assert any(line.startswith("group ") for line in output.lines)
    assert told
    assert session.timeline is branch
    assert (session.step, session.digest(), state_digest(session.machine)) == (here, digest, digest)
    same = asyncio.run(compare_runs(seat, branch, branch, ("a", "b")))  # type: ignore[arg-type]
    assert same.lines == (f"a and b are the same up to step {session.end_step}",)


def test_branches_are_called_by_name(session: Session, tell: Tell) -> None:
    branched(session, tell)
    here, digest = session.step, session.digest()
    name = session.tree.current.name
    output = tell("parting main")
    assert output.lines[0].startswith(f"main and {name} part at step ")
    assert tell(f"parting {name} main").lines[0].startswith(f"{name} and main part at step ")
    assert tell("parting main main").lines[0].startswith("main and main are the same up to step ")
    assert (session.step, session.digest(), session.tree.current.name) == (here, digest, name)
    with pytest.raises(CommandError):
        tell("parting nix")


def test_moments_of_two_branches_know_who_is_who(session: Session, tell: Tell) -> None:
    trunk, branch = branched(session, tell)
    ends = (trunk, trunk.end_step), (branch, branch.end_step)  # type: ignore[attr-defined]
    output = asyncio.run(compare_moments(Seat(session), *ends, ("trunk", "branch")))  # type: ignore[arg-type]
    assert output.table is not None
    areas = [row[1:4] for row in output.table.rows if row[0] == "areas"]
    assert [row[:2] for row in areas] == [
        ("died", "area of 128 bytes"),
        ("born", "area of 24 bytes"),
    ]
    assert session.timeline is branch and not session.timeline.is_stale


def test_a_comparison_that_is_given_up_stands_where_it_stood(session: Session, tell: Tell) -> None:
    trunk, branch = branched(session, tell)
    here, digest = session.step, session.digest()

    def give_up(at: int, goal: int) -> None:
        raise asyncio.CancelledError

    seat = Seat(session, progress=give_up)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(compare_runs(seat, trunk, branch, ("trunk", "branch")))  # type: ignore[arg-type]
    assert (session.step, session.digest()) == (here, digest)


def test_inputs_that_wait_and_a_fault_are_there_afterwards(session: Session, tell: Tell) -> None:
    tell("alloc 0 64")
    session.give(0, "pcpu_alloc", 64, 8, False, 0xCC0, "waits")
    tell("diff start")
    assert session.has_waiting
    asyncio.run(session.run())
    table = tell("diff start").table
    assert table is not None
    assert ": 2 areas born, " in table.title
    with pytest.raises(KernelSimError):
        asyncio.run(session.call(0, "free_percpu", 12345))
    digest, fault = session.digest(), session.machine.fault
    assert fault is not None
    rows = tell("diff start").table
    assert rows is not None
    assert "fault" in [row[2] for row in rows.rows]
    assert (session.digest(), session.machine.fault) == (digest, fault)
