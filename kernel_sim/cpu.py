"""A CPU: its node, its per-CPU base register, and the calls it has under way.

The last call of the stack is the one that runs; the ones below it were interrupted. Calls given to a busy
CPU wait in line; interrupts wait only while a spinlock of this CPU keeps them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernel_sim.call import Call


@dataclass(slots=True)
class Cpu:
    """State of one possible CPU; gs_base is what it adds to a __percpu pointer (fs on i386).

    hotplug_state is the last step of coming up that is done; stack_pfn the first page of the stack that
    came with it, -1 for a CPU that boot brought up.
    """

    number: int
    node: int
    online: bool
    gs_base: int = 0
    stack: list[Call] = field(default_factory=list)
    pending: list[Call] = field(default_factory=list)
    interrupts: list[Call] = field(default_factory=list)
    hotplug_state: int = 0
    stack_pfn: int = -1

    @property
    def current(self) -> Call | None:
        """The call that runs now, or None when the CPU is idle."""
        return self.stack[-1] if self.stack else None

    def is_runnable(self) -> bool:
        """Say whether a step is possible: something runs, is not parked, and waits for no held lock."""
        if not self.stack:
            return False
        call = self.stack[-1]
        return not call.parked and (call.wish is None or call.wish.holder < 0)
