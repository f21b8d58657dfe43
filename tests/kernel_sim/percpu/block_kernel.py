"""A small machine of 2005 with the block allocator, and the moves that its tests make."""

from __future__ import annotations

from typing import Any

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.events import EVENT_NAMES
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.block import Block
from kernel_sim.percpu.block_percpu import BlockPercpu
from kernel_sim.percpu.systems.block_2005 import BlockSystem

FOREVER = 1 << 60


def block_config(
    arch: str = "i386",
    *,
    nr_cpus: int = 8,
    possible: str = "0-3",
    options: dict[str, object] | None = None,
    **tables: Any,
) -> MachineConfig:
    """Return a machine with CPUs 0 and 1 on node 0, the others on node 1."""
    others = possible.removeprefix("0-1").removeprefix(",")
    others = others if others != possible else possible.replace("0-", "2-")
    nodes = [{"cpus": "0-1", "memory": ["0x0-0x3ffffff"]}]
    if others:
        nodes.append({"cpus": others, "memory": ["0x4000000-0x7ffffff"]})
    mapping = {
        "name": "blocks",
        "kernel": {"arch": arch, "nr_cpus": nr_cpus},
        "cpus": {"possible": possible},
        "node": nodes,
        "percpu": {"system": "block-2005", "options": options or {}},
        "memory": {"pages": "2.6.20"},
        "work": {"mode": "scripted"},
    }
    return MachineConfig.from_mapping(mapping | tables, where="test")


class BlockKernel:
    """A machine and what one does with it."""

    def __init__(self, arch: str = "i386", **wishes: Any) -> None:
        self.machine: Machine = boot(block_config(arch, **wishes))
        self.machine.take_events()

    @property
    def system(self) -> BlockSystem:
        system = self.machine.system
        assert isinstance(system, BlockSystem)
        return system

    @property
    def percpu(self) -> BlockPercpu:
        return self.system.percpu

    @property
    def blocks(self) -> list[Block]:
        return self.percpu.pool.order.blocks

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        """Run one call to its end, and whatever it set going."""
        result = self.machine.run_call(self.machine.give(cpu, name, args))
        self.machine.run(FOREVER)
        return result

    def alloc(self, size: int, align: int = 4, *, cpu: int = 0, gfp: int = GFP_KERNEL) -> int:
        ptr = self.call("pcpu_alloc", size, align, False, gfp, "f+0x1", cpu=cpu)
        assert isinstance(ptr, int)
        return ptr

    def free(self, ptr: int, *, cpu: int = 0) -> None:
        self.call("free_percpu", ptr, cpu=cpu)

    def bytes_at(self, virt: int, nr_bytes: int) -> bytes:
        """Return memory as the page tables show it, byte by byte."""
        found = (self.machine.space.translate(at) for at in range(virt, virt + nr_bytes))
        return b"".join(self.machine.memory.read(phys, 1) for phys in found if phys is not None)

    def word_at(self, virt: int) -> int:
        return int.from_bytes(self.bytes_at(virt, self.machine.arch.word_bytes), "little")

    def node_at(self, virt: int) -> int:
        phys = self.machine.space.translate(virt)
        assert phys is not None
        return self.machine.pages.node_of_pfn(phys >> 12)

    def nr_unused_pages(self) -> int:
        """Return the pages that nobody has; those that became page tables count as unused."""
        pages = self.machine.pages
        return pages.nr_free_pages + pages.nr_list_pages + self.machine.space.nr_table_pages

    def event_names(self) -> list[str]:
        return [EVENT_NAMES[type(row.event)] for row in self.machine.take_events()]

    def check(self) -> None:
        check_machine(self.machine)
