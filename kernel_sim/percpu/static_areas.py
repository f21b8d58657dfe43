"""Static areas of CPUs as boot makes them: memory for each, the section copied in, the slab of that day.

    i386       │ cpu 0 │ cpu 1 │ …              one bootmem block, areas end to end
    x86-64     │ cpu 0 │      │ cpu 1 │ …       an area on each CPU's own node

Every design before 2009 begins like this, whatever it makes of modules and dynamic areas.
Source: setup_per_cpu_areas(), Linux 2.6.17 init/main.c and arch/x86_64/kernel/setup64.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from kernel_sim.alignment import align_up, is_power_of_two
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.slab import SlabAllocator
from kernel_sim.mm.slab_classes import SLAB_2_6_20

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine


@dataclass(frozen=True, slots=True)
class StaticAreas:
    """Every possible CPU's area, by its first byte, and the bytes of the last pages that belong to none."""

    addrs: dict[int, int]
    area_bytes: int
    is_one_block: bool

    def size_of(self, cpu: int) -> int:
        """Return a CPU's bytes, with the rest of the last page where no other area follows."""
        is_last = not self.is_one_block or cpu == next(reversed(self.addrs))
        if not is_last:
            return self.area_bytes
        addr = self.addrs[cpu]
        return align_up(addr + self.area_bytes, PAGE_SIZE_BYTES) - addr


def line_bytes_of(config: MachineConfig) -> int:
    """Return SMP_CACHE_BYTES. Raises ConfigError for what is no power of two."""
    line_bytes = cast("int", config.percpu.option("cache_line_bytes"))
    if not is_power_of_two(line_bytes):
        raise ConfigError(
            f"{config.name}: [percpu.options] cache_line_bytes: {line_bytes}; expected a power of two"
        )
    return line_bytes


def reserve_static_areas(early: EarlyMemory, area_bytes: int) -> StaticAreas:
    """Take area_bytes for every possible CPU: end to end, on x86-64 each on its own node.

    Raises ConfigError where no node has room.
    """
    config = early.config
    possible, node_of_cpu = early.topology.possible, early.topology.node_of_cpu
    base = config.kernel.arch.direct_map_addr
    if config.kernel.arch.is_64bit:
        addrs = {cpu: base + _reserve(early, cpu, node_of_cpu[cpu], area_bytes) for cpu in possible}
        return StaticAreas(addrs, area_bytes, is_one_block=False)
    start = base + _reserve(
        early, possible[0], node_of_cpu[possible[0]], area_bytes * len(possible)
    )
    addrs = {cpu: start + area_bytes * number for number, cpu in enumerate(possible)}
    return StaticAreas(addrs, area_bytes, is_one_block=True)


def _reserve(early: EarlyMemory, cpu: int, node: int, nr_bytes: int) -> int:
    phys = early.reserve_near(node, nr_bytes=nr_bytes, align_bytes=PAGE_SIZE_BYTES)
    if phys is None:
        raise ConfigError(
            f"{early.config.name}: no node has {nr_bytes} free bytes in one piece for the per-CPU"
            f" area from cpu {cpu} on; give node {node} more memory"
        )
    return phys


def copy_section(machine: Machine, start: int, addr: int) -> None:
    """Copy .data.percpu, page by page, to a CPU's area; what is zero there is zero already."""
    for done in range(0, machine.config.percpu.static_bytes, PAGE_SIZE_BYTES):
        nr_bytes = min(PAGE_SIZE_BYTES, machine.config.percpu.static_bytes - done)
        source, target = machine.space.translate(start + done), machine.space.translate(addr + done)
        if source is None or target is None:
            raise ConfigError(
                f"{machine.config.name}: [symbols] __per_cpu_start: {start + done:#x} is not mapped;"
                " expected the whole section in the kernel image"
            )
        image = machine.memory.read(source, nr_bytes)
        if any(image):
            machine.memory.write(target, image)


def use_slab_of_the_day(machine: Machine, line_bytes: int) -> None:
    """Let the slab of 2.6.20 have the classes of this cache line and NR_CPUS; others have no such choice."""
    if machine.slab.profile == SLAB_2_6_20:
        machine.slab = SlabAllocator(
            machine.pages, SLAB_2_6_20, line_bytes, machine.config.kernel.nr_cpus, machine.arch.name
        )
