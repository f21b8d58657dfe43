"""What the tests of page tables share: pages for tables, and spaces in every mode."""

from __future__ import annotations

from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.paging_modes import MODES

BASE = 0xFFFF_C900_0000_0000
BASE_32BIT = 0xF800_0000
GIB = 1 << 30
MIB = 1 << 20
ROOT_PFN = 0x100
FIRST_TABLE_PFN = 0x1000
MANY = 1 << 20


class TablePages:
    """Hands out pages 0x1000, 0x1001 … as long as there are any, and remembers who asked."""

    def __init__(self, nr_pages: int = MANY) -> None:
        self.nr_left = nr_pages
        self.next_pfn = FIRST_TABLE_PFN
        self.asked: list[tuple[int, int]] = []

    def __call__(self, node: int, cpu: int) -> int | None:
        self.asked.append((node, cpu))
        if self.nr_left == 0:
            return None
        self.nr_left -= 1
        self.next_pfn += 1
        return self.next_pfn - 1


def new_space(levels: int = 4, nr_table_pages: int = MANY) -> KernelAddressSpace:
    return KernelAddressSpace(
        ROOT_PFN, levels, PhysicalMemory(), TablePages(nr_table_pages), arch=MODES[levels].arch
    )


def base_of(levels: int) -> int:
    return BASE if levels >= 4 else BASE_32BIT
