"""A small machine that tests can drive: 2 to 4 CPUs on up to 2 nodes of 8 MiB, units of 8 pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.boot import boot
from kernel_sim.call import Call
from kernel_sim.check import check_machine
from kernel_sim.config import MachineConfig
from kernel_sim.events import EVENT_NAMES
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine
from kernel_sim.machine_state import dump_parts
from kernel_sim.mm.gfp import GFP_KERNEL

FOREVER = 1 << 60


def small_config(
    *,
    backend: str = "vm",
    first_chunk: str = "embed",
    nr_cpus: int = 4,
    reserved: bool = True,
    free_hint: str = "faithful",
    policy: str = "round_robin",
    seed: int = 1,
    mode: str = "auto",
) -> MachineConfig:
    """Return a machine with nr_cpus CPUs, half of them on each node."""
    half = nr_cpus // 2
    percpu: dict[str, object] = {
        "backend": backend,
        "first_chunk": first_chunk,
        "static_bytes": 6000,
        "reserved_bytes": 8192 if reserved else 0,
        "free_hint": free_hint,
    }
    if first_chunk == "embed":
        percpu |= {"dynamic_bytes": 12288, "atom_bytes": 4096, "distance_fn": backend == "vm"}
    mapping = {
        "name": "small",
        "cpus": {"possible": f"0-{nr_cpus - 1}"},
        "node": [
            {"cpus": f"0-{half - 1}", "memory_mib": 8},
            {"cpus": f"{half}-{nr_cpus - 1}", "memory_mib": 8},
        ],
        "percpu": percpu,
        "schedule": {"policy": policy, "seed": seed},
        "work": {"mode": mode},
        "symbols": {"__per_cpu_offset": "0xffffffff80180000"},
    }
    return MachineConfig.from_mapping(mapping, where="small.toml")


class SmallKernel:
    """A machine and the few moves that most tests make."""

    def __init__(self, **options: Any) -> None:
        self.machine: Machine = boot(small_config(**options))

    def give(self, cpu: int, name: str, *args: Any) -> Call:
        return self.machine.give(cpu, name, args)

    def call(self, name: str, *args: Any, cpu: int = 0) -> Any:
        """Run one call to its end, and whatever it set going."""
        call = self.give(cpu, name, *args)
        result = self.machine.run_call(call)
        self.drain()
        return result

    def give_alloc(
        self,
        size: int,
        *,
        cpu: int = 0,
        align: int = 8,
        reserved: bool = False,
        gfp: int = GFP_KERNEL,
    ) -> Call:
        return self.give(cpu, "pcpu_alloc", size, align, reserved, gfp, "f+0x1")

    def alloc(self, size: int, **options: Any) -> int:
        """Allocate and return the __percpu pointer, or 0."""
        call = self.give_alloc(size, **options)
        result = self.machine.run_call(call)
        self.drain()
        assert isinstance(result, int)
        return result

    def free(self, ptr: int, *, cpu: int = 0) -> None:
        self.call("free_percpu", ptr, cpu=cpu)

    def knob(self, name: str, *args: Any, cpu: int = 0) -> Call | None:
        call = apply_input(self.machine, Input(self.machine.step, name, cpu, args))
        if name == "run_to_lock":
            self.machine.run(self.machine.step + 10_000)
        return call

    def balance(self, *, cpu: int = 0) -> None:
        """Run the background work once."""
        call = self.knob("kworker", cpu=cpu)
        assert call is not None
        self.machine.run_call(call)
        self.drain()

    def drain(self) -> None:
        self.machine.run(FOREVER)

    def use_up_ready_space(self, *, leave: int = 64) -> list[int]:
        """Fill the first chunk but for a little; returns the pointers."""
        first = self.machine.percpu.chunks[0]
        taken: list[int] = []
        while first.md.contig_hint * 4 > leave:
            ptr = self.alloc(min(first.md.contig_hint * 4, 4096), align=4)
            assert (
                ptr and self.machine.percpu.chunk_of(ptr + self.machine.percpu.base_addr) is first
            )
            taken.append(ptr)
        return taken

    def address(self, ptr: int, cpu: int) -> int:
        """Return the virtual address of a CPU's copy, worked out without the machine's registers."""
        machine = self.machine
        return machine.percpu.base_addr + machine.places.unit_offsets[cpu] + ptr & (1 << 64) - 1

    def phys(self, ptr: int, cpu: int) -> int:
        phys = self.machine.space.translate(self.address(ptr, cpu))
        assert phys is not None
        return phys

    def bytes_of(self, ptr: int, cpu: int, size: int) -> bytes:
        return self.machine.memory.read(self.phys(ptr, cpu), size)

    def taken_events(self) -> list[str]:
        """Return the names of the events since the last time."""
        return [EVENT_NAMES[type(row.event)] for row in self.machine.take_events()]

    def nr_unused_pages(self) -> int:
        """Return how many pages nobody has, those on CPUs' lists among them."""
        return self.machine.pages.nr_free_pages + self.machine.pages.nr_list_pages

    def live_areas(self) -> dict[tuple[int, int], int]:
        """Return size in bytes by (chunk number, offset)."""
        return {
            (chunk.number, bit * 4): nr_bits * 4
            for chunk in self.machine.percpu.chunks.values()
            for bit, nr_bits in chunk.areas()
        }

    def fresh_parts(self) -> dict[str, object]:
        """Dump all parts anew, as a machine does that was never dumped before."""
        memory = self.machine.memory
        self.machine.part_cache.clear()
        memory.changed = dict.fromkeys(memory.frames)
        return dump_parts(self.machine)

    def run_until_in(self, call: Call, function: str) -> None:
        """Run until a call is inside a kernel function."""
        while function not in call.frames():
            assert not call.done, f"{call.name} never came to {function}"
            self.machine.run(self.machine.step + 1)

    def check(self) -> None:
        check_machine(self.machine)


@pytest.fixture(scope="session")
def small_kernel() -> Callable[..., SmallKernel]:
    """Return what builds a SmallKernel."""
    return SmallKernel
