"""A machine of 2006: 4 possible CPUs on two nodes, NR_CPUS 8, the slab of 2.6.20."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.systems.legacy_static import LegacyStaticSystem
from snapshots.compare.section_object import section_object


def legacy_config(
    arch: str = "i386",
    *,
    possible: str = "0-3",
    online: str = "",
    static: int = 17892,
    nr_cpus: int = 8,
    symbols: dict[str, str] | None = None,
    policy: str = "round_robin",
    pages: str = "2.6.20",
    **options: object,
) -> MachineConfig:
    cpus = {"possible": possible, "present": "0-3"}
    if online:
        cpus["online"] = online
    return MachineConfig.from_mapping(
        {
            "name": "legacy",
            "kernel": {"arch": arch, "nr_cpus": nr_cpus},
            "cpus": cpus,
            "node": [
                {"cpus": "0-1", "memory_mib": 96},
                {"cpus": "2-7" if possible == "all" else "2-3", "memory_mib": 96},
            ],
            "percpu": {"system": "legacy-static", "static_bytes": static, "options": options},
            "memory": {"pages": pages},
            "schedule": {"policy": policy, "seed": 3},
            "symbols": symbols or {},
        },
        where="test",
    )


@dataclass
class Legacy:
    """Such a machine and the moves that tests make."""

    machine: Machine

    @classmethod
    def of(cls, arch: str = "i386", **options: Any) -> Legacy:
        return cls(boot(legacy_config(arch, **options)))

    @property
    def system(self) -> LegacyStaticSystem:
        system = self.machine.system
        assert isinstance(system, LegacyStaticSystem)
        return system

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        return self.machine.run_call(self.machine.give(cpu, name, args))

    def alloc(self, size: int, align: int = 8, cpu: int = 0) -> int:
        ptr = self.call("pcpu_alloc", size, align, False, GFP_KERNEL, "f+0x1", cpu=cpu)
        assert isinstance(ptr, int)
        return ptr

    def load(self, name: str, size: int, align: int = 4, cpu: int = 0) -> int:
        """Load a module of nothing but a per-CPU section; 0 or a negative error number."""
        image = section_object(self.machine.arch.name, size, align, 1)
        result = self.call("load_module", image, name, "", cpu=cpu)
        self.machine.run(1 << 60)
        assert isinstance(result, int)
        return result

    def unload(self, name: str) -> int:
        result = self.call("delete_module", name)
        assert isinstance(result, int)
        return result

    def offset_of(self, name: str) -> int:
        """Where a module's section begins in the room."""
        mod = self.machine.modules.find_module(name)
        assert mod is not None
        return mod.percpu_ptr - self.system.percpu_start

    def sizes(self) -> list[int]:
        return list(self.system.room.state.slots.sizes)

    def read(self, addr: int, size: int) -> bytes:
        phys = self.machine.space.translate(addr)
        assert phys is not None
        return self.machine.memory.read(phys, size)

    def word(self, addr: int) -> int:
        return int.from_bytes(self.read(addr, self.machine.arch.word_bytes), "little")

    def node_of(self, addr: int) -> int:
        phys = self.machine.space.translate(addr)
        assert phys is not None
        return self.machine.pages.node_of_pfn(phys >> 12)

    def log(self) -> list[tuple[int, str]]:
        return list(self.machine.kernel_log)

    def objects_taken(self) -> dict[str, int]:
        return {row[0]: row[1] for row in self.machine.slab.rows() if row[1]}

    def check(self) -> None:
        check_machine(self.machine)
