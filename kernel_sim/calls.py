"""What a CPU may be asked to do, by the kernel's own names, and the two accessors of per-CPU variables.

A variable is named by its __percpu pointer. A CPU reaches its own copy by adding its gs base, and another
CPU's by adding that CPU's entry of __per_cpu_offset[], read from simulated memory. Both addresses go
through the page tables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kernel_sim.errors import BadAccess
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.balance import pcpu_balance_workfn
from kernel_sim.percpu.bitmap import ADDRESS_MASK
from kernel_sim.primitives import PREEMPT

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

ACCESS_BYTES_MAX = 8
OFFSET_BYTES = 8


class PercpuAccess:
    """Reads and writes of per-CPU variables on one machine."""

    def __init__(self, machine: Machine) -> None:
        """Work on this machine's registers, page tables and memory."""
        self.machine = machine

    async def this_cpu_read(self, cpu: int, ptr: int, size: int) -> int:
        """Return the value of this CPU's copy; size is 1 to 8 bytes. Raises BadAccess."""
        await PREEMPT
        return self._load(cpu, self.machine.cpus[cpu].gs_base + ptr, size)

    async def this_cpu_write(self, cpu: int, ptr: int, value: int, size: int) -> None:
        """Set this CPU's copy. Raises BadAccess."""
        await PREEMPT
        self._store(cpu, self.machine.cpus[cpu].gs_base + ptr, value, size)

    async def this_cpu_add(self, cpu: int, ptr: int, value: int, size: int) -> None:
        """Add to this CPU's copy in one instruction: nobody comes between. Raises BadAccess."""
        await PREEMPT
        addr = self.machine.cpus[cpu].gs_base + ptr
        self._store(cpu, addr, self._load(cpu, addr, size) + value, size)

    async def per_cpu_ptr(self, cpu: int, ptr: int, owner: int) -> int:
        """Return the address of another CPU's copy, from __per_cpu_offset[]."""
        await PREEMPT
        return self._offset_of(cpu, owner) + ptr & ADDRESS_MASK

    async def per_cpu(self, cpu: int, ptr: int, owner: int, size: int) -> int:
        """Return the value of another CPU's copy. Raises BadAccess."""
        addr = await self.per_cpu_ptr(cpu, ptr, owner)
        return self._load(cpu, addr, size)

    def _offset_of(self, cpu: int, owner: int) -> int:
        table = self.machine.symbol("__per_cpu_offset")
        return self._load(cpu, table + OFFSET_BYTES * owner, OFFSET_BYTES)

    def _load(self, cpu: int, addr: int, size: int) -> int:
        phys = self._reach(cpu, addr & ADDRESS_MASK, size, "read")
        return int.from_bytes(self.machine.memory.read(phys, size), "little")

    def _store(self, cpu: int, addr: int, value: int, size: int) -> None:
        addr &= ADDRESS_MASK
        phys = self._reach(cpu, addr, size, "write")
        value &= (1 << 8 * size) - 1
        self.machine.memory.write(phys, value.to_bytes(size, "little"))
        self.machine.note_written(cpu, addr)

    def _reach(self, cpu: int, addr: int, size: int, what: str) -> int:
        if not 0 < size <= ACCESS_BYTES_MAX or addr % PAGE_SIZE_BYTES + size > PAGE_SIZE_BYTES:
            raise BadAccess(
                f"cpu {cpu}: {what} of {size} bytes at {addr:#x}: expected 1 to 8 in a page"
            )
        walk = self.machine.space.walk(addr)
        if walk.phys is None:
            raise BadAccess(f"cpu {cpu}: {what} at {addr:#x}: page fault, {walk.fault}")
        return walk.phys


SIGNATURES: dict[str, tuple[type, ...]] = {
    "pcpu_alloc": (int, int, bool, int, str),
    "free_percpu": (int,),
    "pcpu_balance_workfn": (),
    "this_cpu_read": (int, int),
    "this_cpu_write": (int, int, int),
    "this_cpu_add": (int, int, int),
    "per_cpu_ptr": (int, int),
    "per_cpu": (int, int, int),
}
"""Types of every call's arguments behind the CPU."""


def call_table(machine: Machine) -> dict[str, Callable[..., object]]:
    """Return all calls by name; each takes the CPU and the call's own arguments."""
    access = PercpuAccess(machine)
    percpu = machine.percpu
    return {
        "pcpu_alloc": percpu.pcpu_alloc,
        "free_percpu": percpu.free_percpu,
        "pcpu_balance_workfn": partial(pcpu_balance_workfn, percpu),
        "this_cpu_read": access.this_cpu_read,
        "this_cpu_write": access.this_cpu_write,
        "this_cpu_add": access.this_cpu_add,
        "per_cpu_ptr": access.per_cpu_ptr,
        "per_cpu": access.per_cpu,
    }
