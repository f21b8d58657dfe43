"""A session's own run on other systems, on machines like its own."""

from __future__ import annotations

import asyncio

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import CATALOGUE
from tui.debugger.comparing_systems import checked_systems, compare_systems
from tui.debugger.session import Session


async def test_the_run_is_done_again_by_others_and_the_session_stays_where_it_is(
    session: Session,
) -> None:
    await session.call(0, "pcpu_alloc", 64, 8, False, 0xCC0, "test")
    step, digest = session.step, session.digest()
    told: list[tuple[int, int]] = []
    comparison = await compare_systems(
        session, systems="bitmap", progress=lambda *pair: told.append(pair)
    )
    (run,) = comparison.runs
    assert comparison.workload.origin == "this run"
    assert comparison.workload.counts == {"Alloc": 1, "Access": 1}
    assert run.machine is not session.machine
    assert run.machine.topology == session.machine.topology
    assert run.measured.nr_done == 2
    assert (session.step, session.digest()) == (step, digest)
    assert told[-1] == (2, 2)


async def test_other_work_is_done_on_machines_like_this_one(session: Session) -> None:
    comparison = await compare_systems(session, "gen:small,ops=40", "bitmap")
    (run,) = comparison.runs
    assert run.measured.nr_done == 40
    assert run.machine.config.nodes == session.machine.config.nodes
    assert session.timeline.nr_inputs == 0


async def test_a_run_in_which_nothing_is_asked_is_no_work(session: Session) -> None:
    with pytest.raises(ConfigError, match="nothing is asked of the per-CPU memory in this run"):
        await compare_systems(session)


async def test_it_can_be_given_up(session: Session) -> None:
    work = asyncio.ensure_future(compare_systems(session, "gen:small,ops=2000", "bitmap"))
    await asyncio.sleep(0.02)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


def test_all_systems_unless_told() -> None:
    assert [each.label for each in checked_systems("")] == list(CATALOGUE)
    with pytest.raises(ConfigError, match="no system 'x'"):
        checked_systems("bitmap,x")
