"""A machine that was loaded from a stranger's keyframe: can it be one at all?"""

from __future__ import annotations

from kernel_sim.machine import Machine


def check_loaded(machine: Machine) -> None:
    """Raise InvariantBroken for parts that no machine can be in; what is slow to check is left out."""
    machine.pages.check_invariants()
    machine.slab.check_invariants()
    machine.system.check_loaded()
    machine.fixmap.check_invariants()
    machine.modules.check_invariants()
    for space in machine.area_spaces():
        space.check_invariants()
    for tlb in machine.tlbs.values():
        tlb.check_invariants()
