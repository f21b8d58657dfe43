"""What it means that a run fails: conditions on how it ended, for whoever looks for a shorter one.

    fault                                  the machine stopped, for the same reason
    event percpu_alloc_percpu_fail size=64 such an event happened
    check                                  the machine contradicts itself
    anything else                          an expression on the machine, if somebody reads it for us

Numbers in a fault's text (addresses, CPUs, chunks, offsets) are another thing in a shorter run: two faults
are the same if their words, their error code and the kernel function are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernel_sim.errors import InvariantBroken
from kernel_sim.events import EVENT_TYPES, Event, EventAt, PercpuAllocPercpuFail
from kernel_sim.machine import Fault, Machine
from snapshots.errors import InputError

NUMBER = re.compile(r"\b(?:0[xX])?[0-9a-fA-F]{8,}\b|\b0[xX][0-9a-fA-F]+\b|\b\d+\b")
FAULT, EVENT, CHECK = "fault", "event", "check"
EXPECTED = "expected fault, check, event NAME [FIELD=VALUE…], or an expression on the machine"


@dataclass(slots=True)
class Outcome:
    """A run that has ended: the machine as it stands, and all events."""

    machine: Machine
    events: Sequence[EventAt]


@dataclass(frozen=True, slots=True)
class Condition:
    """A failure: how it reads, and whether a run ended in it. ends_run: nothing can come after it."""

    text: str
    holds: Callable[[Outcome], bool]
    ends_run: bool = False


def fault_words(fault: Fault) -> tuple[str, int, str]:
    """Return what two faults of the same cause have in common: words, error code, innermost function."""
    first = fault.reason.split(";", 1)[0]
    return NUMBER.sub("#", first), fault.error_code, fault.frames[0] if fault.frames else ""


def fault_like(fault: Fault) -> Condition:
    """Return the condition that the machine stopped for the same reason."""
    wanted = fault_words(fault)

    def holds(outcome: Outcome) -> bool:
        found = outcome.machine.fault
        return found is not None and fault_words(found) == wanted

    where = f" in {wanted[2]}" if wanted[2] else ""
    return Condition(f"{FAULT}: {fault.reason.split(';', 1)[0]}{where}", holds, ends_run=True)


def event_like(name: str, fields: dict[str, str]) -> Condition:
    """Return the condition that an event of a name happened whose fields read like these.

    cpu is a field of every event; numbers may be written as 0x…. Raises InputError.
    """
    wanted = EVENT_TYPES.get(name)
    if wanted is None:
        raise InputError(f"{name!r} is no event; expected one of {', '.join(EVENT_TYPES)}")
    known = ("cpu", *wanted._fields)  # type: ignore[attr-defined]
    for field in fields:
        if field not in known:
            raise InputError(f"{name} has no {field!r}; expected one of {', '.join(known)}")

    def holds(outcome: Outcome) -> bool:
        return any(
            type(at.event) is wanted
            and all(_reads(_field(at, field), text) for field, text in fields.items())
            for at in outcome.events
        )

    wishes = "".join(f" {field}={text}" for field, text in fields.items())
    return Condition(f"{EVENT} {name}{wishes}", holds)


def _field(at: EventAt, field: str) -> int | str | bool:
    if field == "cpu":
        return at.cpu
    value: int | str | bool = getattr(at.event, field)
    return value


def _reads(value: int | str | bool, text: str) -> bool:
    if isinstance(value, str):
        return value == text
    words = {"yes": 1, "true": 1, "no": 0, "false": 0}
    if text.lower() in words:
        return value == words[text.lower()]
    try:
        return value == int(text, 0)
    except ValueError:
        return False


def check_fails() -> Condition:
    """Return the condition that the machine contradicts itself, recomputed from first principles."""
    from kernel_sim.check import check_machine  # slow to load, and rarely asked for

    def holds(outcome: Outcome) -> bool:
        try:
            check_machine(outcome.machine)
        except InvariantBroken:
            return True
        return False

    return Condition(CHECK, holds)


def expression_holds(text: str, value_of: Callable[[Machine], object]) -> Condition:
    """Return the condition that an expression on the machine is true at the end."""
    return Condition(text, lambda outcome: bool(value_of(outcome.machine)))


def inferred(outcome: Outcome) -> Condition:
    """Return in what a run most probably fails: its fault, else its last allocation that got nothing.

    Raises InputError if neither is there.
    """
    if outcome.machine.fault is not None:
        return fault_like(outcome.machine.fault)
    for at in reversed(outcome.events):
        event: Event = at.event
        if isinstance(event, PercpuAllocPercpuFail):
            fields = {"is_atomic": "yes" if event.is_atomic else "no", "size": str(event.size)}
            return event_like("percpu_alloc_percpu_fail", fields)
    raise InputError(f"the run ends in no fault, and no allocation in it failed: {EXPECTED}")


def parse_condition(
    text: str,
    outcome: Outcome,
    read_expression: Callable[[str], Callable[[Machine], object]] | None = None,
) -> Condition:
    """Return the condition that a text means; an empty one is inferred. Raises InputError."""
    kind, *words = text.split() or [""]
    if not kind:
        return inferred(outcome)
    if kind == FAULT and not words:
        if outcome.machine.fault is None:
            raise InputError("fault: the run does not end in one")
        return fault_like(outcome.machine.fault)
    if kind == CHECK and not words:
        return check_fails()
    if kind == EVENT and words:
        name, *wishes = words
        pairs = [wish.partition("=") for wish in wishes]
        bad = next((field for field, equals, _ in pairs if not equals), None)
        if bad is not None:
            raise InputError(f"{bad!r}: expected FIELD=VALUE")
        return event_like(name, {field: value for field, _, value in pairs})
    if read_expression is None:
        raise InputError(f"{text!r}: {EXPECTED}")
    return expression_holds(text, read_expression(text))
