from __future__ import annotations

from pathlib import Path

import pytest

from snapshots.logs.allocator_state import AllocatorState
from snapshots.logs.line_order import order_lines
from snapshots.logs.machine_folder import read_machine_folder
from snapshots.logs.state_moments import StateMoment, place_states

FOLDER = Path(__file__).parents[2] / "golden" / "kernel-6.1" / "formats-2cpu"


@pytest.fixture(scope="module")
def placed() -> tuple[tuple[StateMoment, ...], list[int]]:
    """The recorded states of a real machine, placed, and the line numbers of its log."""
    real = read_machine_folder(FOLDER)
    log = real.trace()
    assert log is not None
    order = order_lines(log)
    states = place_states(real.states(), log, order)
    return states, [line.event.line_no for line in order.lines]


def test_the_first_state_was_taken_before_the_first_line(
    placed: tuple[tuple[StateMoment, ...], list[int]],
) -> None:
    states, _ = placed
    assert states[0].state.label.startswith("trace-start")
    assert states[0].position == 0


def test_a_state_lies_before_the_first_line_behind_its_marker(
    placed: tuple[tuple[StateMoment, ...], list[int]],
) -> None:
    states, line_nos = placed
    log = read_machine_folder(FOLDER).trace()
    assert log is not None
    by_text = {marker.text.strip(): marker.line_no for marker in log.markers}
    checked = 0
    for position, state in states:
        marker = by_text.get(state.label.removeprefix("marker: ").strip())
        if marker is not None and position < len(line_nos):
            assert line_nos[position - 1] < marker < line_nos[position]
            checked += 1
    assert checked >= 3


def test_places_never_go_back_and_a_state_without_a_marker_is_the_end(
    placed: tuple[tuple[StateMoment, ...], list[int]],
) -> None:
    states, line_nos = placed
    positions = [moment.position for moment in states]
    assert positions == sorted(positions)
    assert isinstance(states[-1].state, AllocatorState)
    assert positions[-1] == len(line_nos)
