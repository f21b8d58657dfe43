"""Conditions: what counts as the same failure, and how one is written."""

from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Fault
from snapshots.errors import InputError
from snapshots.what_if.failure import (
    Outcome,
    check_fails,
    event_like,
    fault_like,
    fault_words,
    inferred,
    parse_condition,
)
from tests.snapshots.conftest import GFP_ATOMIC, GFP_KERNEL, small_config


def outcome_of(*calls: tuple[object, ...]) -> Outcome:
    machine = boot(small_config(cpus=3))
    for do, cpu, *args in calls:
        apply_input(machine, Input(machine.step, str(do), int(str(cpu)), tuple(args)))  # type: ignore[arg-type]
        machine.run(1 << 62)
    return Outcome(machine, machine.events)


ALLOC = ("pcpu_alloc", 1, 64, 8, False, GFP_KERNEL, "here")
FAILS = ("pcpu_alloc", 1, 32768, 8, False, GFP_ATOMIC, "here")


def test_faults_are_the_same_but_for_their_numbers() -> None:
    one = outcome_of(("free_percpu", 0, 0x999))
    other = outcome_of(ALLOC, ("free_percpu", 2, 0x123450))
    third = outcome_of(("read", 0, 0x999, 8))
    assert one.machine.fault is not None and other.machine.fault is not None
    condition = fault_like(one.machine.fault)
    assert condition.holds(one) and condition.holds(other)
    assert not condition.holds(third)
    assert not condition.holds(outcome_of(ALLOC))
    assert condition.text.startswith("fault: cpu 0: free of")


def test_a_read_and_a_write_are_two_faults() -> None:
    one = Fault(1, 0, "page fault for address: ffffe8ff12345678; more", ("this_cpu_write",), 5, 2)
    assert fault_words(one) == fault_words(
        Fault(9, 3, "page fault for address: ffffc90000001000; else", ("this_cpu_write",), 7, 2)
    )
    assert fault_words(one) != fault_words(Fault(1, 0, one.reason, ("this_cpu_write",), 5, 0))
    assert fault_words(one) != fault_words(Fault(1, 0, one.reason, ("this_cpu_read",), 5, 2))


def test_events_are_wished_by_name_and_fields() -> None:
    outcome = outcome_of(ALLOC)
    assert event_like("percpu_alloc_percpu", {}).holds(outcome)
    assert event_like("percpu_alloc_percpu", {"size": "0x40", "cpu": "1"}).holds(outcome)
    assert event_like("percpu_alloc_percpu", {"is_atomic": "no", "call_site": "here"}).holds(
        outcome
    )
    for field, text in (("size", "65"), ("cpu", "0"), ("is_atomic", "yes"), ("size", "x")):
        assert not event_like("percpu_alloc_percpu", {field: text}).holds(outcome)
    assert not event_like("percpu_free_percpu", {}).holds(outcome)


def test_what_fails_is_inferred() -> None:
    assert inferred(outcome_of(FAILS)).text == (
        "event percpu_alloc_percpu_fail is_atomic=yes size=32768"
    )
    assert inferred(outcome_of(FAILS, ("free_percpu", 0, 0x999))).text.startswith("fault")
    with pytest.raises(InputError, match="expected fault, check, event NAME"):
        inferred(outcome_of(ALLOC))


def test_a_machine_that_contradicts_itself_fails_the_check() -> None:
    outcome = outcome_of(ALLOC)
    assert not check_fails().holds(outcome)
    outcome.machine.percpu.chunks[0].free_bytes += 4
    assert check_fails().holds(outcome)


def test_conditions_are_read() -> None:
    good, bad = outcome_of(ALLOC), outcome_of(ALLOC, ("free_percpu", 0, 0x999))
    assert parse_condition("fault", bad).holds(bad)
    assert parse_condition("", bad).text == parse_condition("fault", bad).text
    assert not parse_condition("check", good).holds(good)
    assert parse_condition("event percpu_alloc_percpu size=64", good).holds(good)
    read = parse_condition("step > 3", good, lambda text: lambda machine: machine.step > 3)
    assert read.holds(good) and read.text == "step > 3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fault", "does not end in one"),
        ("event nothing", "is no event; expected one of percpu_alloc_percpu"),
        ("event percpu_alloc_percpu colour=1", "expected one of cpu, call_site"),
        ("event percpu_alloc_percpu size", "expected FIELD=VALUE"),
        ("chunk[1].free_bytes < 5", "expected fault, check"),
    ],
)
def test_a_wrong_condition_says_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_condition(text, outcome_of(ALLOC))
