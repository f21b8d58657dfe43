"""A small machine with chunks and area maps, and the moves that its tests make."""

from __future__ import annotations

from typing import Any

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.events import EVENT_NAMES
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.area_chunk import AreaChunk
from kernel_sim.percpu.area_percpu import AreaPercpu
from kernel_sim.percpu.area_system import AreaSystem

FOREVER = 1 << 60
KIB = 1 << 10


def area_config(
    system: str = "chunk-2009",
    arch: str = "x86-64",
    *,
    nr_cpus: int = 4,
    nr_nodes: int = 1,
    mib: int = 128,
    percpu: dict[str, object] | None = None,
    levels: int = 0,
    tables: dict[str, object] | None = None,
    **options: object,
) -> MachineConfig:
    """Return a machine whose CPUs are spread over its nodes; mib: memory of each node."""
    per_node = nr_cpus // nr_nodes
    kernel: dict[str, object] = {"arch": arch, "nr_cpus": max(nr_cpus, 8)}
    if levels:
        kernel["page_table_levels"] = levels
    mapping: dict[str, object] = {
        "name": f"{system} on {arch}",
        "kernel": kernel,
        "cpus": {"possible": f"0-{nr_cpus - 1}" if nr_cpus > 1 else "0"},
        "node": [
            {
                "cpus": ",".join(map(str, range(node * per_node, (node + 1) * per_node))),
                "memory_mib": mib,
            }
            for node in range(nr_nodes)
        ],
        "percpu": {"system": system, "static_bytes": 17892, "options": options}
        | ({"atom_bytes": 4096} if not percpu or percpu.get("first_chunk") != "page" else {})
        | (percpu or {}),
        "work": {"mode": "scripted"},
    }
    return MachineConfig.from_mapping(mapping | (tables or {}), where="test")


class AreaKernel:
    """A machine and what one does with it."""

    def __init__(self, *args: Any, **wishes: Any) -> None:
        self.config = area_config(*args, **wishes)
        self.machine: Machine = boot(self.config)
        self.machine.take_events()

    @property
    def system(self) -> AreaSystem:
        system = self.machine.system
        assert isinstance(system, AreaSystem)
        return system

    @property
    def percpu(self) -> AreaPercpu:
        return self.system.percpu

    @property
    def chunks(self) -> dict[int, AreaChunk]:
        return self.percpu.chunks

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        """Run one call to its end, and whatever it set going."""
        result = self.machine.run_call(self.machine.give(cpu, name, args))
        self.machine.run(FOREVER)
        return result

    def alloc(self, size: int, align: int = 4, *, cpu: int = 0, reserved: bool = False) -> int:
        ptr = self.call("pcpu_alloc", size, align, reserved, GFP_KERNEL, "f+0x1", cpu=cpu)
        assert isinstance(ptr, int)
        return ptr

    def free(self, ptr: int, *, cpu: int = 0) -> None:
        self.call("free_percpu", ptr, cpu=cpu)

    def work(self, cpu: int = 0) -> None:
        self.machine.run_call(self.machine.start_work(cpu))

    def place(self, ptr: int) -> tuple[int, int]:
        """Return chunk and offset of an area."""
        found = self.percpu.find_area(ptr)
        assert found is not None
        return found[0].number, found[1]

    def new_chunk(self) -> AreaChunk:
        """Let a chunk be made by an area that fits no other, and return it."""
        number = self.percpu.next_number
        ptr = self.alloc(self.percpu.min_unit_bytes, 4096)
        assert ptr and self.place(ptr)[0] == number
        self.free(ptr)
        return self.chunks[number]

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

    def log(self) -> list[str]:
        return [f"<{level}>{text}" for level, text in self.machine.kernel_log]

    def check(self) -> None:
        check_machine(self.machine)
