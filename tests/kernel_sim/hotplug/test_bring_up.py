"""CPUs up and down: what they print, every failure and its way back, who waits for whom."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.events import CpuhpEnter, CpuhpExit
from kernel_sim.hotplug.bring_up import EBUSY, EINVAL, EPERM
from kernel_sim.hotplug.callbacks import EAGAIN, ENOMEM
from kernel_sim.hotplug.states import (
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
    ONLINE,
    PREPARE,
    STARTING,
    STATES,
    TEARDOWN,
)
from kernel_sim.inputs import Input, apply_input
from tests.kernel_sim.whole_machines import KINDS, Whole

CAN_FAIL_UP = [state.number for state in STATES if state.section != STARTING and state.startup]
CAN_FAIL_DOWN = [state.number for state in STATES if state.section == ONLINE]


def hotplug_events(whole: Whole) -> list[tuple[str, int, int]]:
    """Return ("enter", step, 0) and ("exit", step, result) of all steps since the last time."""
    rows: list[tuple[str, int, int]] = []
    for row in whole.machine.take_events():
        if isinstance(row.event, CpuhpEnter):
            rows.append(("enter", row.event.idx, 0))
        elif isinstance(row.event, CpuhpExit):
            rows.append(("exit", row.event.idx, row.event.ret))
    return rows


def steps(rows: list[tuple[str, int, int]]) -> list[int]:
    return [number for what, number, _ in rows if what == "enter"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_down_and_up_again_changes_nothing_but_the_stack(kind: str) -> None:
    whole = Whole(kind)
    before = whole.account()
    for _ in range(2):
        assert whole.call("cpu_down", 1) == 0
        whole.check()
        owner = whole.machine.cpus[1]
        assert (owner.online, owner.hotplug_state, owner.stack_pfn) == (False, CPUHP_OFFLINE, -1)
        assert whole.call("cpu_up", 1, cpu=2) == 0
        whole.check()
        assert (owner.online, owner.hotplug_state) == (True, CPUHP_ONLINE)
        assert owner.stack_pfn >= 0
    after = whole.account()
    assert after.pop("stacks") != before.pop("stacks")
    assert after.pop("pages") == before.pop("pages") + 4
    assert after == before


def test_the_log_reads_as_the_kernels() -> None:
    whole = Whole()
    boot_lines = len(whole.log())
    whole.call("cpu_down", 1)
    whole.call("cpu_up", 1)
    whole.call("cpu_up", 77)
    assert whole.log()[boot_lines:] == [
        "smpboot: CPU 1 is now offline",
        "smpboot: Booting Node 0 Processor 1 APIC 0x1",
        "can't online cpu 77 because it is not configured as may-hotadd at boot time",
    ]


def test_up_goes_through_all_steps_in_order_and_down_backwards() -> None:
    whole = Whole()
    whole.machine.take_events()
    whole.call("cpu_down", 2)
    down = steps(hotplug_events(whole))
    whole.call("cpu_up", 2)
    up = steps(hotplug_events(whole))
    assert up == [state.number for state in STATES if state.startup]
    assert down == [
        state.number for state in reversed(STATES) if state.teardown or state.number == TEARDOWN
    ]


@pytest.mark.parametrize("number", CAN_FAIL_UP)
def test_a_step_up_that_fails_leaves_the_cpu_offline(number: int) -> None:
    whole = Whole()
    whole.call("cpu_down", 3)
    before = whole.account()
    whole.machine.take_events()
    whole.knob("cpuhp_fail", 3, number)
    assert whole.call("cpu_up", 3) == -EAGAIN
    rows = hotplug_events(whole)
    whole.check()
    assert whole.account() == before
    at = rows.index(("exit", number, -EAGAIN))
    done = [step for step in steps(rows[:at]) if step != number]
    undone = steps(rows[at:])
    assert done == [state.number for state in STATES if state.number < number and state.startup]
    expected = [
        state.number for state in reversed(STATES)
        if state.teardown and (state.number < number)
        and (state.number != TEARDOWN or number > TEARDOWN)
    ]  # fmt: skip
    assert undone == expected
    assert whole.call("cpu_up", 3) == 0
    whole.check()


@pytest.mark.parametrize("number", CAN_FAIL_DOWN)
def test_a_step_down_that_fails_leaves_the_cpu_online(number: int) -> None:
    whole = Whole()
    before = whole.account()
    whole.machine.take_events()
    whole.knob("cpuhp_fail", 3, number)
    assert whole.call("cpu_down", 3) == -EAGAIN
    rows = hotplug_events(whole)
    whole.check()
    assert whole.account() == before
    at = rows.index(("exit", number, -EAGAIN))
    assert steps(rows[at:]) == [
        state.number for state in STATES if state.number > number and state.startup
    ]
    assert whole.log()[-1] != "smpboot: CPU 3 is now offline"
    assert whole.call("this_cpu_read", 64, 4, cpu=3) == 0
    assert whole.call("cpu_down", 3) == 0


def test_without_memory_for_the_stack_the_cpu_stays_down() -> None:
    whole = Whole()
    whole.call("cpu_down", 3)
    before = whole.account()
    whole.knob("fail_pages", 0)
    assert whole.call("cpu_up", 3) == -ENOMEM
    assert whole.account() == before
    whole.check()


def test_what_cannot_be_asked_is_refused() -> None:
    whole = Whole()
    before = whole.account()
    assert whole.call("cpu_down", 0, cpu=1) == -EPERM
    assert whole.call("cpu_down", 2, cpu=2) == -EBUSY
    assert whole.call("cpu_down", 9) == -EINVAL
    assert whole.call("cpu_up", 9) == -EINVAL
    assert whole.call("cpu_up", 2) == 0
    assert whole.account() == before
    for cpu in (1, 2, 3):
        assert whole.call("cpu_down", cpu) == 0
    assert whole.call("cpu_down", 3) == -EINVAL
    assert whole.call("cpu_down", 0) == -EPERM
    assert whole.machine.online_cpus() == (0,)
    whole.check()


def test_a_cpu_that_is_not_present_cannot_come() -> None:
    cpus = {"possible": "0-3", "present": "0-2", "online": "0-1"}
    whole = Whole(cpus=cpus)
    assert whole.call("cpu_up", 3) == -EINVAL
    assert whole.call("cpu_up", 2) == 0
    assert whole.machine.online_cpus() == (0, 1, 2)
    whole.check()


def test_calls_that_wait_for_a_cpu_that_goes_run_elsewhere() -> None:
    whole = Whole(policy="round_robin")
    first = whole.give(3, "vmalloc", 200000)
    waiting = [whole.give(3, "pcpu_alloc", 64, 8, False, 0xCC0, "f") for _ in range(3)]
    down = whole.give(0, "cpu_down", 3)
    whole.drain()
    assert whole.machine.fault is None
    assert (down.result, first.cpu) == (0, 3)
    assert first.result
    ptrs = [call.result for call in waiting]
    assert all(ptrs) and len(dict.fromkeys(ptrs)) == 3
    whole.check()
    assert whole.machine.online_cpus() == (0, 1, 2)


def test_a_cpu_that_comes_or_goes_takes_no_calls() -> None:
    whole = Whole()
    down = whole.give(0, "cpu_down", 3)
    refused = 0
    while not down.done:
        owner = whole.machine.cpus[3]
        if owner.hotplug_state != CPUHP_ONLINE:
            with pytest.raises(ConfigError, match="CPU 3 is "):
                apply_input(whole.machine, Input(whole.machine.step, "drain_all_pages", 3))
            refused += 1
        whole.machine.run(whole.machine.step + 1)
    assert down.result == 0 and refused > len(CAN_FAIL_DOWN)
    with pytest.raises(ConfigError, match="CPU 3 is offline; expected one of 0-2"):
        whole.give(3, "drain_all_pages")
    whole.check()


def test_two_that_ask_for_the_same_cpu_take_turns() -> None:
    whole = Whole()
    calls = [whole.give(0, "cpu_down", 3), whole.give(1, "cpu_down", 3), whole.give(2, "cpu_up", 3)]
    whole.drain()
    assert whole.machine.fault is None
    assert sorted(int(str(call.result)) for call in calls) in ([-EINVAL, 0, 0], [0, 0, 0])
    whole.check()


def test_cpus_that_take_each_other_down_do_not_wait_for_each_other_for_ever() -> None:
    for seed in range(10):
        whole = Whole(policy="random", seed=seed)
        calls = [whole.give(cpu, "cpu_down", other) for cpu, other in ((1, 2), (2, 3), (3, 1))]
        whole.drain()
        assert whole.machine.fault is None
        assert all(call.result in (0, -EBUSY, -EINVAL) for call in calls)
        whole.check()


def test_a_node_appears_with_its_first_cpu() -> None:
    node = [{"cpus": "0-1", "memory_mib": 8}, {"cpus": "2-3"}]
    percpu = {"static_bytes": 6000, "first_chunk": "page"}
    whole = Whole(nr_online=2, node=node, percpu=percpu)
    assert list(whole.machine.offline_nodes) == [1]
    assert whole.call("cpu_up", 2) == 0
    assert not whole.machine.offline_nodes
    assert whole.machine.pages.node_of_pfn(whole.machine.cpus[2].stack_pfn) == 0
    whole.check()


def test_the_steps_run_where_they_should() -> None:
    whole = Whole()
    whole.call("cpu_down", 3)
    whole.machine.take_events()
    whole.call("cpu_up", 3, cpu=1)
    for row in whole.machine.take_events():
        if isinstance(row.event, CpuhpEnter):
            section = next(state.section for state in STATES if state.number == row.event.idx)
            assert row.cpu == (1 if section == PREPARE else 3)


def test_the_way_back_up_is_not_told_to_fail() -> None:
    """A second wish that something fails, come while all is undone, waits for the next time."""
    whole = Whole(nr_online=3)
    whole.knob("cpuhp_fail", 3, 234)
    call = whole.give(0, "cpu_up", 3)
    while whole.machine.hotplug_fail is not None:
        whole.machine.run(whole.machine.step + 1)
    whole.knob("cpuhp_fail", 3, TEARDOWN)
    whole.drain()
    assert call.result == -EAGAIN
    assert whole.machine.hotplug_fail == (3, TEARDOWN)
    assert not whole.machine.cpus[3].online
    whole.check()
