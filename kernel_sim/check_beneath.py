"""Are slabs, TLBs, modules and CPUs sound? The parts of a machine that have invariants of their own.

slab, fixmap, module space, modules    each its own check
TLBs                                   online CPUs only have entries; of lazily freed areas some may
                                       still be there, other frames or more rights than the tables
                                       give may not
modules                                image areas where the modules say, per-CPU areas allocated
CPUs                                   online exactly when all steps of coming up are done; lists and
                                       lazily freed areas are measured for those online
"""

from __future__ import annotations

from kernel_sim.errors import InvariantBroken
from kernel_sim.hotplug.states import CPUHP_OFFLINE, CPUHP_ONLINE
from kernel_sim.machine import Machine
from kernel_sim.mm.tlb import TlbEntry
from kernel_sim.mm.tlb_stale import stale_entries
from kernel_sim.mm.vmalloc import lazy_max_pages_of
from kernel_sim.mm.watermarks import PROFILE_PLAIN


def check_beneath(machine: Machine) -> None:
    """Raise InvariantBroken at the first contradiction. For a moment without calls under way."""
    machine.slab.check_invariants()
    machine.fixmap.check_invariants()
    machine.module_space.check_invariants()
    machine.modules.check_invariants()
    for cpu, tlb in machine.tlbs.items():
        tlb.check_invariants()
        if not machine.cpus[cpu].online and tlb.nr_entries:
            raise InvariantBroken(f"cpu {cpu} is offline and its TLB has {tlb.nr_entries} entries")
        for entry, reason in stale_entries(tlb, machine.space):
            if not _may_be_stale(machine, entry, reason):
                raise InvariantBroken(f"cpu {cpu}: its TLB is stale at {entry.virt:#x}: {reason}")
    _check_modules(machine)
    _check_cpus(machine)


def _may_be_stale(machine: Machine, entry: TlbEntry, reason: str) -> bool:
    """Say whether a healthy kernel leaves such an entry: in a lazily freed area, or of fewer rights."""
    if reason.startswith("not mapped"):
        areas = (space.find_area(entry.virt) for space in machine.area_spaces())
        lazy = [start for space in machine.area_spaces() for start in space.lazy]
        return any(area is not None and area.start in lazy for area in areas)
    return not (reason.startswith("frame ") or "RW here" in reason or "NX in the tables" in reason)


def _check_modules(machine: Machine) -> None:
    """Each module's memory is an area in use, its per-CPU areas are allocated."""
    for module in machine.modules.modules:
        for addr, size_bytes in (
            (module.core_addr, module.core_size_bytes),
            (module.init_addr, module.init_size_bytes),
        ):
            area = machine.module_space.find_area(addr) if size_bytes else None
            if size_bytes and (
                area is None or area.start != addr or addr in machine.module_space.lazy
            ):
                raise InvariantBroken(f"module {module.name}: no area in use starts at {addr:#x}")
        pointers = [module.percpu_ptr] if module.percpu_size_bytes else []
        for ptr in (*pointers, *module.variables.values()):
            if not machine.system.holds(ptr):
                raise InvariantBroken(f"module {module.name}: no per-CPU area is at {ptr:#x}")


def _check_cpus(machine: Machine) -> None:
    for number, cpu in machine.cpus.items():
        expected = CPUHP_ONLINE if cpu.online else CPUHP_OFFLINE
        if cpu.hotplug_state != expected:
            raise InvariantBroken(
                f"cpu {number} stands at step {cpu.hotplug_state} of coming up, expected {expected}"
            )
        if not cpu.online and (cpu.stack or cpu.pending or cpu.interrupts):
            raise InvariantBroken(f"cpu {number} is offline and has calls")
    for space in machine.area_spaces():
        if space.lazy_max_pages != lazy_max_pages_of(len(machine.online_cpus())):
            raise InvariantBroken(
                f"{space.lazy_max_pages} lazily freed pages are put up with, for "
                f"{len(machine.online_cpus())} CPUs online"
            )
    _check_online_of_nodes(machine)
    for lock in (machine.cpu_add_remove_lock, machine.cpu_hotplug_lock, machine.modules.mutex):
        if lock.holder >= 0:
            raise InvariantBroken(f"{lock.name} is held by cpu {lock.holder}, and nothing runs")


def _check_online_of_nodes(machine: Machine) -> None:
    """The page allocator sizes its lists for as many CPUs as run on each node."""
    told = machine.pages.online_cpus_of_node
    for node in machine.topology.nodes if machine.pages.profile != PROFILE_PLAIN else ():
        nr_cpus = sum(cpu.online and cpu.node == node for cpu in machine.cpus.values())
        if told.get(node, 0) != nr_cpus:
            raise InvariantBroken(
                f"node {node} has {nr_cpus} CPUs online, the page allocator knows of {told.get(node, 0)}"
            )
