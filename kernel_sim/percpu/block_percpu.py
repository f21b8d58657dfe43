"""The block allocator of one machine: its lists, its lock, its build, and which CPUs it knows.

    posting  management pages                     pages of a CPU                 currency
    jan      GFP_KERNEL, cleared by hand          GFP_KERNEL|HIGHMEM             a pointer
    review   GFP_KERNEL|HIGHMEM|ZERO              GFP_KERNEL|HIGHMEM             an int
    sep      GFP_ATOMIC|ZERO                      GFP_ATOMIC|HIGHMEM             an int
    caller   by the caller's flags, both: GFP_KERNEL|HIGHMEM|ZERO or GFP_ATOMIC|ZERO      an int

jan is the posting of 13 Jan 2005 as its review quotes it, review what the answer promises, sep "[patch
2/11]" of 13 Sep 2005, caller that with "[patch 3/11]". The allocator runs in block_alloc.py, on the
memory of block_area.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_HIGHMEM, GFP_KERNEL, GFP_ZERO, may_sleep
from kernel_sim.percpu.block_geometry import (
    BLOCK_BYTES,
    INT_BYTES,
    NR_LIST_WORDS,
    PAGES_PER_CPU,
    BlockGeometry,
)
from kernel_sim.percpu.block_memory import BlockMemory
from kernel_sim.percpu.block_pool import BlockPool
from kernel_sim.percpu.registers import write_at_boot
from kernel_sim.primitives import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel_sim.machine import Machine


class BlockOptions(NamedTuple):
    """Switches: which posting, its mistakes or not, the mail's claim of no NR_CPUS, and if the possible
    CPUs are only known as they come up.
    """

    posting: str
    as_posted: bool = False
    mail_mode: bool = False
    grows: bool = False


class PageFlags(NamedTuple):
    """What pages are asked for with: those of management, those of CPUs."""

    management: int
    of_cpus: int


BY_CALLER: Final = "caller"
FLAGS: Final = {
    "jan": PageFlags(GFP_KERNEL, GFP_KERNEL | GFP_HIGHMEM),
    "review": PageFlags(GFP_KERNEL | GFP_HIGHMEM | GFP_ZERO, GFP_KERNEL | GFP_HIGHMEM),
    "sep": PageFlags(GFP_ATOMIC | GFP_ZERO, GFP_ATOMIC | GFP_HIGHMEM),
}
POSTINGS: Final = (*FLAGS, BY_CALLER)
WITH_POINTER_CURRENCY: Final = "jan"
VARIABLES_PLACE: Final = 7
"""The allocator's variables are at so many eighths of the kernel image."""


@dataclass(slots=True)
class BlockPercpu:
    """State and parts; possible is the ordered set of the CPUs that new blocks get pages for."""

    machine: Machine
    geometry: BlockGeometry
    posting: str
    memory: BlockMemory
    possible: dict[int, None]
    pool: BlockPool = field(init=False)
    lock: Lock = field(default_factory=lambda: Lock("blklist_lock", irqs_off=True))

    def __post_init__(self) -> None:
        self.pool = BlockPool(self.geometry)

    @classmethod
    def at_boot(cls, machine: Machine, options: BlockOptions) -> BlockPercpu:
        """Return the allocator without a block; its variables stand in the image.

        Raises ConfigError for a build whose descriptor, as posted, would run over its own bitmap.
        """
        geometry = _geometry_of(machine, options)
        addr = machine.image_addr + VARIABLES_PLACE * machine.image_bytes // 8
        memory = BlockMemory(machine, geometry, addr)
        for at, value in enumerate(memory.empty_list()):
            place = addr + at * geometry.word_bytes
            write_at_boot(machine, place, value, geometry.word_bytes)
        for name, place in memory.variables.items():
            machine.symbols.setdefault(name, place)
        topology = machine.topology
        possible = topology.online if options.grows else topology.possible
        return cls(machine, geometry, options.posting, memory, dict.fromkeys(possible))

    def page_flags(self, gfp: int) -> PageFlags:
        """Return what pages of a new block are asked for with, for a caller's flags."""
        if self.posting != BY_CALLER:
            return FLAGS[self.posting]
        flags = GFP_KERNEL | GFP_HIGHMEM | GFP_ZERO if may_sleep(gfp) else GFP_ATOMIC | GFP_ZERO
        return PageFlags(flags, flags)

    def page_slots(self) -> Iterator[tuple[int, int]]:
        """Yield (CPU, index in pages[]) of every page that a new block needs for CPUs."""
        for owner in self.possible:
            for at in range(PAGES_PER_CPU):
                yield owner, owner * PAGES_PER_CPU + at

    def free_pages(self, cpu: int, pfns: list[int]) -> None:
        """Give pages back one by one."""
        for pfn in pfns:
            self.machine.pages.free_pages(pfn, 0, cpu)

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where owner's copy of an object is, None without pages behind it."""
        block = self.pool.block_of(ptr)
        if block is None or ptr >= block.start_addr + BLOCK_BYTES or owner not in block.cpu_pfns:
            return None
        return ptr + owner * BLOCK_BYTES


def _geometry_of(machine: Machine, options: BlockOptions) -> BlockGeometry:
    word_bytes, nr_cpus = machine.arch.word_bytes, machine.config.kernel.nr_cpus
    currency_bytes = word_bytes if options.posting == WITH_POINTER_CURRENCY else INT_BYTES
    geometry = BlockGeometry(
        word_bytes,
        nr_cpus,
        currency_bytes,
        mail_mode=options.mail_mode,
        as_posted=options.as_posted,
    )
    nr_needed = geometry.nr_cpu_pages + geometry.nr_management_pages
    nr_over = nr_needed - geometry.nr_page_pointers
    if options.as_posted and not options.mail_mode and nr_over > NR_LIST_WORDS:
        raise ConfigError(
            f"{machine.config.name}: [kernel] nr_cpus: {nr_cpus}: as posted, {nr_over} page pointers of a"
            f" block lie behind their array and spoil its bitmap; expected more CPUs"
        )
    return geometry
