"""Small machines with everything in them, and the moves that tests of the whole machine make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kernel_sim.boot import boot
from kernel_sim.call import Call
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.vmalloc_pages import area_pfns

OBJECTS = Path(__file__).parents[1] / "modules" / "objects"
FOREVER = 1 << 60
STATIC_BYTES = 6000
KINDS: dict[str, dict[str, object]] = {
    "x86-64": {},
    "x86-64-2.6.20": {"memory": {"pages": "2.6.20"}},
    "x86-64-plain": {"memory": {"pages": "plain"}, "tlb": {"profile": "none"}},
    "x86-64-5": {"kernel": {"page_table_levels": 5}, "tlb": {"profile": "nehalem"}},
    "i386-pae": {"kernel": {"arch": "i386", "page_table_levels": 3}},
    "i386": {
        "kernel": {"arch": "i386", "page_table_levels": 2},
        "memory": {"pages": "2.6.20"},
        "tlb": {"profile": "pentium3"},
    },
}


def whole_config(
    kind: str = "x86-64",
    *,
    nr_cpus: int = 4,
    nr_online: int = 0,
    policy: str = "round_robin",
    seed: int = 1,
    memory_mib: int = 8,
    **tables: Any,
) -> MachineConfig:
    """Return a machine of one of the KINDS: two nodes, half of the CPUs on each."""
    wide = kind.startswith("x86-64")
    half = nr_cpus // 2
    image = 0xFFFFFFFF81000000 if wide and memory_mib > 100 else 0xFFFFFFFF80100000
    if not wide:
        image = 0xC1000000 if memory_mib > 100 else 0xC0100000
    start = 0 if wide else image + ((64 << 20) if memory_mib > 100 else 1 << 20) // 4
    percpu = {"static_bytes": STATIC_BYTES, "first_chunk": "page"}
    if wide:
        percpu |= {
            "first_chunk": "embed", "reserved_bytes": 8192, "dynamic_bytes": 12288,
            "atom_bytes": 4096, "distance_fn": True,
        }  # fmt: skip
    mapping: dict[str, Any] = {
        "name": "whole",
        "cpus": {"possible": f"0-{nr_cpus - 1}", "online": f"0-{(nr_online or nr_cpus) - 1}"},
        "node": [
            {"cpus": f"0-{half - 1}", "memory_mib": memory_mib},
            {"cpus": f"{half}-{nr_cpus - 1}", "memory_mib": memory_mib},
        ],
        "percpu": percpu,
        "schedule": {"policy": policy, "seed": seed},
        "symbols": {"kernel_func": f"{image + 0x1000:#x}", "kernel_percpu": f"{start + 64:#x}"},
    }
    return MachineConfig.from_mapping(mapping | KINDS[kind] | tables, where="whole.toml")


class Whole:
    """A machine and the few moves that most tests make; inputs are remembered."""

    def __init__(self, kind: str = "x86-64", **options: Any) -> None:
        self.config = whole_config(kind, **options)
        self.machine: Machine = boot(self.config)
        self.arch = "x86-64" if kind.startswith("x86-64") else "i386"
        self.inputs: list[Input] = []

    def input(self, name: str, *args: Any, cpu: int = 0) -> Call | None:
        given = Input(self.machine.step, name, cpu, args)
        call = apply_input(self.machine, given)
        self.inputs.append(given)
        return call

    def give(self, cpu: int, name: str, *args: Any) -> Call:
        call = self.input(name, *args, cpu=cpu)
        assert call is not None
        return call

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        """Run one call to its end, and whatever it set going."""
        call = self.give(cpu, name, *args)
        result = self.machine.run_call(call)
        self.drain()
        return result

    def knob(self, name: str, *args: Any, cpu: int = 0) -> None:
        self.input(name, *args, cpu=cpu)

    def drain(self) -> None:
        self.machine.run(FOREVER)

    def check(self) -> None:
        check_machine(self.machine)

    # -- calls in short --------------------------------------------------------------------------------

    def alloc(self, size: int, *, cpu: int = 0, align: int = 8, gfp: int = GFP_KERNEL) -> int:
        result = self.call("pcpu_alloc", size, align, False, gfp, "f+0x1", cpu=cpu)
        assert isinstance(result, int)
        return result

    def load(self, name: str, script: str = "", *, cpu: int = 0) -> int:
        result = self.call("load_module", self.image(name), name, script, cpu=cpu)
        assert isinstance(result, int)
        return result

    def image(self, name: str) -> bytes:
        return (OBJECTS / f"{name}-{self.arch}.o").read_bytes()

    def use_up_ready_space(self) -> list[int]:
        """Fill the first chunk but for a little; returns the pointers."""
        first = self.machine.percpu.chunks[0]
        taken: list[int] = []
        while first.md.contig_hint * 4 > 64:
            taken.append(self.alloc(min(first.md.contig_hint * 4, 4096), align=4))
        return taken

    def run_until_in(self, call: Call, function: str) -> None:
        """Run until a call is inside a kernel function."""
        while function not in call.frames():
            assert not call.done, f"{call.name} never came to {function}"
            self.machine.run(self.machine.step + 1)

    # -- what there is ---------------------------------------------------------------------------------

    def log(self) -> list[str]:
        return [text for _, text in self.machine.kernel_log]

    def account(self) -> dict[str, object]:
        """Say who has how many pages and areas: what must be as before when a call came to nothing.

        Not in it is what the kernel keeps for the next time: page tables, pages under a chunk's free space,
        chunks with nothing in them.
        """
        machine = self.machine
        slab_pages = sum(1 << order for _, order in machine.slab.owned_pages())
        tables = sum(
            machine.pages.owner_state_of(pfn).startswith("allocated")
            for pfn in machine.space.table_pfns
        )
        allocated = sum(
            1 << order for zone in machine.pages.zones for _, order in zone.allocated_blocks()
        )
        in_chunks = sum(
            chunk.nr_populated * len(machine.places.cpus)
            for number, chunk in machine.percpu.chunks.items()
            if number > 0
        )
        return {
            "pages": allocated - tables - slab_pages - in_chunks,
            "slab objects": machine.slab.dump(),
            "chunks": {
                number: tuple(chunk.areas())
                for number, chunk in machine.percpu.chunks.items()
                if chunk.nr_alloc
            },
            "vmalloc": _live(machine, machine.vmalloc),
            "modules area": _live(machine, machine.module_space),
            "modules": [(m.name, m.refcnt, tuple(m.used_by)) for m in machine.modules.modules],
            "held": dict(machine.held_pages),
            "stacks": [
                (cpu.online, cpu.hotplug_state, cpu.stack_pfn) for cpu in machine.cpus.values()
            ],
        }

    def fresh_parts(self) -> dict[str, object]:
        """Dump all parts anew, as a machine does that was never dumped before."""
        memory = self.machine.memory
        self.machine.part_cache.clear()
        memory.changed = dict.fromkeys(memory.frames)
        return dump_parts(self.machine)


def _live(machine: Machine, space: Any) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return the areas with pages; those of chunks are accounted with them."""
    return [
        (area.start, area.size_bytes, tuple(area_pfns(machine.space, area)))
        for area in space.areas
        if area.nr_pages and area.start not in space.lazy
    ]
