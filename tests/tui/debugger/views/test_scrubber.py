from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snapshots.segment import Mark
from tui.debugger.views.scrubber import (
    CREATE,
    DESTROY,
    FAIL,
    FUTURE,
    GOAL,
    HERE,
    PAST,
    column_of,
    mark_columns,
    scrubber_codes,
    step_at,
)

widths = st.integers(2, 300)
ends = st.integers(1, 10**7)


@given(ends, widths, st.data())
def test_a_click_on_a_column_leads_to_a_step_of_that_column(
    end: int, width: int, data: st.DataObject
) -> None:
    column = data.draw(st.integers(0, width - 1))
    step = step_at(column, 0, end, width)
    assert 0 <= step <= end
    if end >= width:
        assert column_of(step, 0, end, width) == column


@given(ends, widths)
def test_the_ends_of_the_line_are_the_ends_of_the_run(end: int, width: int) -> None:
    assert step_at(0, 5, 5 + end, width) == 5
    assert step_at(width - 1, 5, 5 + end, width) == 5 + end
    assert column_of(5 + end, 5, 5 + end, width) == width - 1


def test_where_marks_meet_the_rarer_kind_is_shown() -> None:
    marks = [Mark(10, "f"), Mark(10, "c"), Mark(50, "c"), Mark(51, "d"), Mark(99, "c")]
    assert mark_columns(marks, 0, 100, 11) == {1: FAIL, 5: DESTROY, 9: CREATE}


def test_the_line_is_past_here_future() -> None:
    assert scrubber_codes(50, 0, 100, 5, {}) == bytes([PAST, PAST, HERE, FUTURE, FUTURE])


def test_marks_and_the_goal_of_a_move_lie_on_the_line_and_here_above_them() -> None:
    codes = scrubber_codes(0, 0, 100, 5, {0: CREATE, 2: FAIL}, goal=100)
    assert codes == bytes([HERE, FUTURE, FAIL, FUTURE, GOAL])


def test_a_run_without_a_step_has_a_line_too() -> None:
    assert scrubber_codes(0, 0, 0, 8, {})[0] == HERE
    assert step_at(7, 0, 0, 8) == 0
