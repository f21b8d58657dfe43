"""Calls that were handed to a machine and led to no step: they go back, and wait.

    step 6   every call is parked ── input: alloc on cpu 0 ──► it could only stand in line ──► taken back
    step 6   …                    ── input: unpark         ──► a step: the alloc goes with it

A position shows one state. A call that stands in line without a step of the machine would make two of it.
"""

from __future__ import annotations

from kernel_sim.call import Call
from kernel_sim.machine import Machine, Work


class HandedOver:
    """Calls handed over since the machine last took a step."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[tuple[Call, Work]] = []

    def note(self, call: Call | None, work: Work) -> None:
        """Take note of a call, and of the work as it was before; a knob has no call and took a step."""
        if call is None:
            self._calls.clear()
        else:
            self._calls.append((call, work))

    def clear(self) -> None:
        """The machine has taken a step."""
        self._calls.clear()

    def take_back(self, machine: Machine) -> int:
        """Take the calls out of the machine again; returns how many."""
        nr_calls = len(self._calls)
        while self._calls:
            call, machine.work = self._calls.pop()
            owner = machine.cpus[call.cpu]
            owner.pending = [each for each in owner.pending if each is not call]
            owner.stack = [each for each in owner.stack if each is not call]
            if not owner.stack and call.cpu in machine.active:
                machine.active.remove(call.cpu)
        return nr_calls
