"""The table of steps: ascending, in sections, with an undo wherever something must be undone."""

from __future__ import annotations

from kernel_sim.hotplug.states import (
    BRINGUP,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
    ONLINE,
    PREPARE,
    STARTING,
    STATE_OF_NUMBER,
    STATES,
    TEARDOWN,
    between,
)

SECTIONS = (PREPARE, STARTING, ONLINE)


def test_numbers_ascend_and_stand_between_offline_and_online() -> None:
    numbers = [state.number for state in STATES]
    assert numbers == sorted(dict.fromkeys(numbers))
    assert numbers[0] > CPUHP_OFFLINE and numbers[-1] < CPUHP_ONLINE
    assert {number: state.number for number, state in STATE_OF_NUMBER.items()} == {
        number: number for number in numbers
    }


def test_sections_follow_each_other_at_the_two_bounds() -> None:
    places = [SECTIONS.index(state.section) for state in STATES]
    assert places == sorted(places)
    for state in STATES:
        expected = PREPARE if state.number <= BRINGUP else ONLINE
        assert state.section == (STARTING if BRINGUP < state.number < TEARDOWN else expected)
    assert STATE_OF_NUMBER[BRINGUP].startup == "bringup_cpu"
    assert STATE_OF_NUMBER[TEARDOWN].teardown == "takedown_cpu"


def test_numbers_and_names_are_those_of_the_real_table() -> None:
    """As in /sys/devices/system/cpu/hotplug/states of Debian's 6.1."""
    real = {1: "threads:prepare", 11: "workqueue:prepare", 91: "sched:starting", 147: "smpboot:threads",
            180: "workqueue:online", 184: "mm/vmstat:online", 234: "sched:active"}  # fmt: skip
    named = {state.number: state.name for state in STATES}
    assert {number: named[number] for number in real} == real


def test_every_step_does_something_on_one_way_at_least() -> None:
    assert all(state.startup or state.teardown for state in STATES)


def test_between_leaves_the_lower_bound_out_and_takes_the_upper_one() -> None:
    assert between(CPUHP_OFFLINE, CPUHP_ONLINE) == STATES
    assert [state.number for state in between(1, 36)] == [11, 36]
    assert between(36, 36) == ()
    for state in STATES:
        assert state not in between(state.number, CPUHP_ONLINE)
        assert between(CPUHP_OFFLINE, state.number)[-1] is state
