"""A machine for the proposals of 2006: 4 CPUs on two nodes, NR_CPUS 8, the slab of 2.6.20."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kernel_sim.boot import boot
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.machine import Machine
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.reference_count import count_references
from snapshots.compare.section_object import section_object
from snapshots.timeline import NO_LIMIT, Timeline

GFP = GFP_KERNEL


def rostedt_config(
    system: str,
    arch: str = "i386",
    *,
    possible: str = "0-3",
    online: str = "",
    static: int = 17892,
    nr_cpus: int = 8,
    memory_mib: int = 96,
    levels: int = 0,
    tlb: str = "none",
    vmalloc: dict[str, str] | None = None,
    symbols: dict[str, str] | None = None,
    policy: str = "round_robin",
    **options: object,
) -> MachineConfig:
    cpus = {"possible": possible} | ({"online": online} if online else {})
    last = possible.rpartition("-")[2]
    second = [] if possible == "0" else [{"cpus": f"2-{last}", "memory_mib": memory_mib}]
    kernel: dict[str, object] = {"arch": arch, "nr_cpus": nr_cpus}
    return MachineConfig.from_mapping(
        {
            "name": system,
            "kernel": kernel | ({"page_table_levels": levels} if levels else {}),
            "cpus": cpus,
            "node": [{"cpus": "0-1" if second else "0", "memory_mib": memory_mib}, *second],
            "percpu": {"system": system, "static_bytes": static, "options": options},
            "memory": {"pages": "2.6.20"},
            "tlb": {"profile": tlb},
            "vmalloc": vmalloc or {},
            "schedule": {"policy": policy, "seed": 3},
            "symbols": symbols or {},
        },
        where="test",
    )


@dataclass
class Rostedt:
    """Such a machine and the moves that tests make."""

    machine: Machine

    @classmethod
    def of(cls, system: str, arch: str = "i386", **options: Any) -> Rostedt:
        return cls(boot(rostedt_config(system, arch, **options)))

    @property
    def system(self) -> Any:
        return self.machine.system

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        result = self.machine.run_call(self.machine.give(cpu, name, args))
        self.machine.run(1 << 60)
        return result

    def alloc(self, size: int, align: int = 8, cpu: int = 0) -> int:
        return int(self.call("pcpu_alloc", size, align, False, GFP_KERNEL, "f+0x1", cpu=cpu))

    def load(self, name: str, size: int, align: int = 4, nr: int = 1, cpu: int = 0) -> int:
        """Load a module of nothing but a per-CPU section; 0 or a negative error number."""
        image = section_object(self.machine.arch.name, size, align, nr)
        return int(self.call("load_module", image, name, "", cpu=cpu))

    def ptr_of(self, name: str) -> int:
        module = self.machine.modules.find_module(name)
        assert module is not None
        return module.percpu_ptr

    def references(self, cpu: int, ptr: int, owner: int | None = None) -> list[int]:
        """The addresses that an access reads, the datum's last."""
        return [found.addr for found in count_references(self.machine, cpu, ptr, owner)]

    def read(self, addr: int, size: int) -> bytes:
        phys = self.machine.space.translate(addr)
        assert phys is not None
        return self.machine.memory.read(phys, size)

    def words(self, addr: int, count: int) -> list[int]:
        word = self.machine.arch.word_bytes
        return [
            int.from_bytes(self.read(at, word), "little")
            for at in range(addr, addr + count * word, word)
        ]

    def node_of(self, addr: int) -> int:
        phys = self.machine.space.translate(addr)
        assert phys is not None
        return self.machine.pages.node_of_pfn(phys >> 12)

    def objects_taken(self) -> dict[str, int]:
        return {row[0]: row[1] for row in self.machine.slab.rows() if row[1]}

    def log(self) -> list[tuple[int, str]]:
        return list(self.machine.kernel_log)

    def bytes_of(self, kind: str, strip: str = "") -> int:
        """Bytes of a kind in strips whose name begins so."""
        stretches = self.system.stretches()
        return sum(s.size_bytes for s in stretches if s.kind == kind and s.strip.startswith(strip))

    def check_strips(self) -> None:
        """Strips do not overlap, and the stretches of a strip lie end to end."""
        ends: dict[str, int] = {}
        spans: list[tuple[int, int]] = []
        for stretch in self.system.stretches():
            assert stretch.size_bytes > 0, stretch
            assert ends.get(stretch.strip, stretch.addr) == stretch.addr, stretch
            ends[stretch.strip] = stretch.end
            spans.append((stretch.addr, stretch.end))
        spans.sort()
        for (_, end), (start, _) in pairwise(spans):
            assert end <= start, f"{start:#x} is drawn twice"

    def check(self) -> None:
        check_machine(self.machine)
        self.check_strips()


def give_work(timeline: Timeline, arch: str, up: int = 3) -> None:
    """Modules, areas, an access, a CPU that comes; some of it at once on two CPUs."""

    def do(cpu: int, name: str, *args: Any) -> Any:
        number = timeline.give(name, cpu, args)
        timeline.advance(NO_LIMIT)
        call = timeline.calls.pop(number, None)
        return call.result if call else None

    ptrs = [do(0, "pcpu_alloc", size, 8, False, GFP_KERNEL, "f") for size in (4, 100, 1500)]
    timeline.give("load_module", 0, (section_object(arch, 300, 64, 2), "a", ""))
    timeline.give("load_module", 1, (section_object(arch, 5000, 8, 1), "b", ""))
    timeline.give("pcpu_alloc", 2, (64, 8, False, GFP_KERNEL, "g"))
    timeline.give("cpu_up", 0, (up,))
    timeline.advance(NO_LIMIT)
    do(1, "load_module", section_object(arch, 9000, 32, 3), "c", "")
    do(1, "this_cpu_write", ptrs[0], 5, 4)
    do(1, "free_percpu", ptrs[1])
    do(1, "delete_module", "a")
