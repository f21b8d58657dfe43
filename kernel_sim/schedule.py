"""Who runs next. One step resumes exactly one CPU, and the choice is part of the machine's state.

round_robin   the next runnable CPU after the last one
random        any runnable CPU, by the machine's own generator
pct           the runnable CPU of highest priority; now and then the one that ran falls to the bottom
              (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees", 2010)
scripted      as round_robin, over whatever calls the inputs let run
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from kernel_sim.random_state import RandomState

POLICIES = ("round_robin", "random", "pct", "scripted")
PCT_CHANGE_ONE_IN = 64


@dataclass(slots=True)
class Scheduler:
    """The choice and all it depends on."""

    policy: str
    random: RandomState
    last_cpu: int = -1
    priorities: dict[int, int] = field(default_factory=dict)  # pct: higher runs first
    lowest_priority: int = 0

    def pick(self, runnable: list[int]) -> int:
        """Return one of the runnable CPUs, which are sorted and at least one."""
        if self.policy == "random":
            cpu = runnable[self.random.below(len(runnable))]
        elif self.policy == "pct":
            cpu = self._pick_by_priority(runnable)
        else:
            cpu = next((number for number in runnable if number > self.last_cpu), runnable[0])
        self.last_cpu = cpu
        return cpu

    def _pick_by_priority(self, runnable: list[int]) -> int:
        for cpu in runnable:
            if cpu not in self.priorities:
                self.priorities[cpu] = 1 + self.random.below(1 << 20)
        chosen = max(runnable, key=lambda cpu: (self.priorities[cpu], -cpu))
        if self.random.below(PCT_CHANGE_ONE_IN) == 0:
            self.lowest_priority -= 1
            self.priorities[chosen] = self.lowest_priority
        return chosen

    def dump(self) -> tuple[object, ...]:
        """Return the state as builtin types."""
        return (
            self.last_cpu,
            self.lowest_priority,
            tuple(sorted(self.priorities.items())),
            (self.random.state, self.random.increment),
        )

    def load(self, dump: tuple[object, ...]) -> None:
        """Take the state that dump() returned."""
        last_cpu, lowest_priority, priorities, random = dump
        self.last_cpu = cast("int", last_cpu)
        self.lowest_priority = cast("int", lowest_priority)
        self.priorities = dict(cast("tuple[tuple[int, int], ...]", priorities))
        self.random = RandomState(*cast("tuple[int, int]", random))
