from __future__ import annotations

import pytest

from kernel_sim.machine_state import dump_parts
from snapshots.diff.rows import AREAS, BORN, CHANGED, DIED, MOVED, SYSTEM, AreaName, DiffSide
from snapshots.diff.state_diff import diff_states, summary_of
from snapshots.diff.system import named_place
from tests.tui.system_sessions import OTHERS, busy_session_of, ptrs_of, session_of, tell
from tui.debugger.session import Session


def side_of(session: Session, names: dict[int, AreaName] | None = None) -> DiffSide:
    return DiffSide.of(session.machine, dump_parts(session.machine), names)


@pytest.mark.parametrize("system", OTHERS)
def test_areas_are_born_and_die(system: str) -> None:
    session = busy_session_of(system)
    ptrs = ptrs_of(session)
    before = side_of(session)
    assert diff_states(before, before) == ()
    fresh = tell(session, "alloc 0 2000").lines[0].split()[1]
    tell(session, f"free 0 percpu:{ptrs[1]:#x}")
    rows = diff_states(before, side_of(session))
    areas = [(row.change, row.what, row.where) for row in rows if row.group == AREAS]
    assert areas[0] == (DIED, "area of 200 bytes", f"{ptrs[1]:#x}")
    assert (areas[1][0], areas[1][2]) == (BORN, fresh) and len(areas) == 2
    assert "1 area died, 1 area born" in summary_of(rows)
    named = {row.what for row in rows if row.group == SYSTEM}
    assert all(name.startswith("system") for name in named) and named


@pytest.mark.parametrize("system", OTHERS)
def test_every_difference_of_a_part_is_told(system: str) -> None:
    """Two machines that only differ in what they allocated: no part is passed over in silence."""
    one, other = session_of(system), busy_session_of(system)
    sides = side_of(one), side_of(other)
    rows = diff_states(*sides)
    for name in sides[1].parts:
        if name.startswith("system") and sides[0].parts.get(name) != sides[1].parts[name]:
            assert any(row.what == name.replace(".", " ") for row in rows), name


def test_between_two_runs_the_same_allocation_moved() -> None:
    one, other = busy_session_of("block-2005"), session_of("block-2005")
    tell(other, "alloc 0 400", "alloc 0 64")
    was, now = ptrs_of(one)[0], ptrs_of(other)[1]
    name = AreaName("kmemscope", 64, 1)
    rows = diff_states(side_of(one, {was: name}), side_of(other, {now: name}))
    moved = [row for row in rows if row.change == MOVED]
    assert [(row.was, row.now, row.where) for row in moved] == [
        (f"{was:#x}", f"{now:#x}", "from kmemscope, its #1")
    ]


def test_an_area_of_another_size_under_the_same_ptr_is_told() -> None:
    one, other = session_of("block-2005"), session_of("block-2005")
    tell(one, "alloc 0 64")
    tell(other, "alloc 0 128")
    rows = [row for row in diff_states(side_of(one), side_of(other)) if row.group == AREAS]
    assert [(row.change, row.was, row.now) for row in rows] == [(CHANGED, 64, 128)]


def test_places_read_by_names() -> None:
    value = {"slots": {"sizes": (1, 2)}, "areas": ((3_939_671_039, {"size": 5}), (7, {"size": 6}))}
    assert named_place("[0][1][0][1][1]", value) == "slots.sizes[1]"
    assert named_place("[1][1][0]", value) == "areas[0xead29bff]"
    assert named_place("[1][1][1][1][0][1]", value) == "areas[7].size"
    assert named_place("[1][1][1][0]", value) == "areas[7][0]"
    assert named_place("order", value) == "order"
    assert named_place("[9]+0x4", value) == "[9]+0x4"
    assert named_place("", None) == ""
