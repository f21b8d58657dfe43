"""The hybrid at boot: one block for the CPUs that run, their windows, and addresses for CPUs to come.

    bootmem   │ A │ A │                        page aligned, for the CPUs that run now
    VM        │ A │ A │       window W = base + D, as low as vmalloc space has it
              │ A │ … │  …  │ A │ … │          two ranges D apart, for those that may come

D is at least what lies between the block and vmalloc space. Both ranges for CPUs to come are in vmalloc
space, so they are D apart only if that is longer than D: with much memory it is not, and no CPU can come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.errors import ConfigError, KernelBug
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.boot_log import KERN_WARNING, BootLine
from kernel_sim.percpu.module_window import ModuleWindow
from kernel_sim.percpu.static_areas import copy_section
from kernel_sim.percpu.vm_hybrid import SPACE_CALLER, HybridAreas

if TYPE_CHECKING:
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine


def place_hybrid(early: EarlyMemory) -> int:
    """Take one block for the areas of all CPUs that run; its physical address. Raises ConfigError."""
    config, topology = early.config, early.topology
    area_bytes = ModuleWindow.of_section(config.percpu.static_bytes).area_bytes
    nr_bytes = area_bytes * len(topology.online)
    node = topology.node_of_cpu[topology.online[0]]
    phys = early.reserve_near(node, nr_bytes=nr_bytes, align_bytes=PAGE_SIZE_BYTES)
    if phys is None:
        raise ConfigError(
            f"{config.name}: no node has {nr_bytes} free bytes in one piece for the per-CPU areas;"
            f" give node {node} more memory"
        )
    return phys


def boot_hybrid(machine: Machine, phys: int) -> HybridAreas:
    """Copy the section for the CPUs that run, and set addresses aside. Raises ConfigError."""
    start, online = machine.symbol("__per_cpu_start"), machine.topology.online
    window = ModuleWindow.of_section(machine.config.percpu.static_bytes)
    base_addr = machine.arch.direct_map_addr + phys
    nr_bytes = window.area_bytes * len(online)
    for addr in range(base_addr, base_addr + nr_bytes, window.area_bytes):
        copy_section(machine, start, addr)
    try:
        windows = machine.vmalloc.register_early(nr_bytes, PAGE_SIZE_BYTES, SPACE_CALLER)
    except KernelBug as problem:
        raise ConfigError(
            f"{machine.config.name}: [vmalloc]: {problem}; expected room for {len(online)} windows"
        ) from problem
    areas = HybridAreas(
        machine=machine,
        percpu_start=start,
        base_addr=base_addr,
        distance_bytes=windows - base_addr,
        boot_cpus=online,
        reserved_addr=0,
        window=window,
    )
    areas.reserved_addr = _reserve_to_come(machine, areas)
    return areas


def _reserve_to_come(machine: Machine, areas: HybridAreas) -> int:
    """Set addresses aside for areas and windows of CPUs to come; 0 if there are none, or no such CPUs."""
    nr_bytes = areas.area_bytes * len(areas.cpus_to_come)
    if not nr_bytes or nr_bytes > areas.distance_bytes:
        return 0
    found = machine.vmalloc.get_vm_areas(
        (0, areas.distance_bytes), (nr_bytes, nr_bytes), PAGE_SIZE_BYTES, SPACE_CALLER
    )
    return found[0] if found else 0


def boot_lines(areas: HybridAreas) -> tuple[BootLine, ...]:
    """Return a line if CPUs may come and there is no address space for them. Ours: no code was posted."""
    if areas.reserved_addr or not areas.cpus_to_come:
        return ()
    text = (
        f"percpu: no address space for {len(areas.cpus_to_come)} CPUs to come: areas and windows are"
        f" {areas.distance_bytes:#x} apart"
    )
    return (BootLine(KERN_WARNING, text),)
