"""At every step of a run, calls under way or not, every system can be drawn, accounted and listed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.tui.system_sessions import EVERY, busy_session_of, ptrs_of, tell
from tui.debugger.session import Session
from tui.debugger.strips import StripIndex
from tui.debugger.views.account import account_view
from tui.debugger.views.areas import areas_view
from tui.debugger.views.cpus import cpus_view
from tui.debugger.views.stretch_map import map_view

OBJECT = "tests/modules/objects/plain-{arch}.o"


def lived_in(system: str, arch: str) -> Session:
    """Return a run with calls that wait for each other, a module, a CPU that went and came, and failures."""
    session = busy_session_of(system, arch)
    freed = ptrs_of(session)[1]
    for line in (
        f"free 1 percpu:{freed:#x}", "alloc 0 3000", "alloc 1 8192 later", "alloc 2 64 later", "run",
        f"insmod {OBJECT.format(arch=arch)} 'init: a = pcpu_alloc 64 8'", "cpu down 3",
        "alloc 0 100", "cpu up 3", "alloc 0 60000", "fail-pages 1", "alloc 0 5000",
    ):  # fmt: skip
        tell(session, line)
    return session


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_strips_lie_end_to_end_and_apart_at_every_step(system: str, arch: str) -> None:
    session = lived_in(system, arch)
    assert session.machine.fault is None
    for step in range(session.first_step, session.end_step + 1):
        session.go_now(step)
        strips = StripIndex.of(session.machine).read_all()
        for strip in strips:
            at = strip.addr
            for stretch in strip.stretches:
                assert stretch.addr == at and stretch.size_bytes > 0, (step, strip.name)
                at = stretch.end
        assert len({strip.name for strip in strips}) == len(strips), step
        spans = sorted((strip.addr, strip.end, strip.name) for strip in strips)
        for one, other in pairwise(spans):
            assert one[1] <= other[0], (step, one, other)


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_views_answer_at_every_seventh_step(system: str, arch: str) -> None:
    session = lived_in(system, arch)
    for step in range(session.first_step, session.end_step + 1, 7):
        session.go_now(step)
        for view in (map_view, account_view, areas_view, cpus_view):
            assert view(session).rows or view is areas_view, (step, view)
