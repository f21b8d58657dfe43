"""What the catalogue knows of a per-CPU system: its history, what may be set, how it comes up.

    place(early)        ──► memory that must be set aside before there are page tables
    boot(machine, placed) ──► the system, its static copies standing; tables of boot may still be taken

boot() runs with the kernel's memory mapped and before the page allocator hands out tables. Registers and
`__per_cpu_offset[]` are loaded afterwards from what the system says they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernel_sim.percpu.options import Option

if TYPE_CHECKING:
    from kernel_sim.early_memory import EarlyMemory
    from kernel_sim.machine import Machine
    from kernel_sim.percpu.protocol import PercpuSystem


def place_nothing(early: EarlyMemory) -> None:
    """Set nothing aside before the page tables."""


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """One line of the catalogue.

    arches: those it ran on. keys: the keys of [percpu] that it takes besides system, static_bytes, options.
    zero_based: x86-64 links the static section at 0. static_bytes: size of that section if the
    description names none; 0 takes the release's. lays_out_units: boot checks that the first chunk fits.
    nr_cpus: (architecture, NR_CPUS) of the default builds of its day. pages: how its day's kernels handed
    out pages and slab objects, one of [memory] pages. vmalloc_follows_memory: i386's vmalloc space begins
    right above the memory there is, as it did; else where it begins with all that it can have.
    dynamic_bytes: the dynamic part that setup asked for in an embedded first chunk; 0 takes the release's.
    """

    name: str
    title: str
    years: str
    arches: tuple[str, ...]
    boot: Callable[[Machine, Any], PercpuSystem]
    place: Callable[[EarlyMemory], object] = place_nothing
    options: tuple[Option, ...] = ()
    keys: tuple[str, ...] = ()
    zero_based: bool = False
    static_bytes: int = 0
    lays_out_units: bool = False
    nr_cpus: tuple[tuple[str, int], ...] = ()
    pages: str = "modern"
    vmalloc_follows_memory: bool = False
    dynamic_bytes: int = 0

    def default_nr_cpus(self, arch: str, otherwise: int) -> int:
        """Return the NR_CPUS of the day's default build for an architecture."""
        return dict(self.nr_cpus).get(arch, otherwise)
