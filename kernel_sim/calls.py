"""What a CPU may be asked to do, by the kernel's own names, and the two accessors of per-CPU variables.

A variable is named by its __percpu pointer. How a CPU finds its own copy and another CPU's is the per-CPU
system's: with a base register, from __per_cpu_offset[], from an array of pointers. What is read on the way
is read from simulated memory, through the CPU's TLB and the page tables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kernel_sim.errors import BadAccess
from kernel_sim.hotplug.bring_up import SIGNATURES as HOTPLUG_SIGNATURES
from kernel_sim.hotplug.bring_up import hotplug_call_table
from kernel_sim.memory_calls import SIGNATURES as MEMORY_SIGNATURES
from kernel_sim.memory_calls import memory_call_table
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.primitives import PREEMPT

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

ACCESS_BYTES_MAX = 8


class PercpuAccess:
    """Reads and writes of per-CPU variables on one machine."""

    def __init__(self, machine: Machine) -> None:
        """Work on this machine's registers, page tables and memory."""
        self.machine = machine

    async def this_cpu_read(self, cpu: int, ptr: int, size: int) -> int:
        """Return the value of this CPU's copy; size is 1 to 8 bytes. Raises BadAccess."""
        await PREEMPT
        return self._load(cpu, self._own(cpu, ptr), size)

    async def this_cpu_write(self, cpu: int, ptr: int, value: int, size: int) -> None:
        """Set this CPU's copy. Raises BadAccess."""
        await PREEMPT
        self._store(cpu, self._own(cpu, ptr), value, size)

    async def this_cpu_add(self, cpu: int, ptr: int, value: int, size: int) -> None:
        """Add to this CPU's copy in one instruction: nobody comes between. Raises BadAccess."""
        await PREEMPT
        addr = self._own(cpu, ptr)
        self._store(cpu, addr, self._load(cpu, addr, size) + value, size)

    async def per_cpu_ptr(self, cpu: int, ptr: int, owner: int) -> int:
        """Return the address of another CPU's copy. Raises BadAccess."""
        await PREEMPT
        return self.machine.system.per_cpu(partial(self._load, cpu), cpu, ptr, owner)

    async def per_cpu(self, cpu: int, ptr: int, owner: int, size: int) -> int:
        """Return the value of another CPU's copy. Raises BadAccess."""
        addr = await self.per_cpu_ptr(cpu, ptr, owner)
        return self._load(cpu, addr, size)

    def _own(self, cpu: int, ptr: int) -> int:
        """Return the address of this CPU's copy, found the way its per-CPU system does."""
        return self.machine.system.this_cpu(partial(self._load, cpu), cpu, ptr)

    def _load(self, cpu: int, addr: int, size: int) -> int:
        addr = self._checked(cpu, addr, size, "read")
        return int.from_bytes(self.machine.access.read(cpu, addr, size), "little")

    def _store(self, cpu: int, addr: int, value: int, size: int) -> None:
        addr = self._checked(cpu, addr, size, "write")
        value &= (1 << 8 * size) - 1
        self.machine.access.write(cpu, addr, value.to_bytes(size, "little"))
        self.machine.system.note_written(cpu, addr)

    def _checked(self, cpu: int, addr: int, size: int, what: str) -> int:
        """Return the address cut to a word; one access stays within a page."""
        addr &= self.machine.arch.address_mask
        if not 0 < size <= ACCESS_BYTES_MAX or addr % PAGE_SIZE_BYTES + size > PAGE_SIZE_BYTES:
            raise BadAccess(
                f"cpu {cpu}: {what} of {size} bytes at {addr:#x}: expected 1 to 8 in a page"
            )
        return addr


SIGNATURES: dict[str, tuple[type, ...]] = {
    "pcpu_alloc": (int, int, bool, int, str),
    "free_percpu": (int,),
    "pcpu_balance_workfn": (),
    "pcpu_reclaim": (),
    "this_cpu_read": (int, int),
    "this_cpu_write": (int, int, int),
    "this_cpu_add": (int, int, int),
    "per_cpu_ptr": (int, int),
    "per_cpu": (int, int, int),
    "load_module": (bytes, str, str),
    "delete_module": (str,),
    "do_free_init": (),
    "try_module_get": (str,),
    "module_put": (str,),
    **MEMORY_SIGNATURES,
    **HOTPLUG_SIGNATURES,
}
"""Types of every call's arguments behind the CPU."""


def call_table(machine: Machine) -> dict[str, Callable[..., object]]:
    """Return all calls by name; each takes the CPU and the call's own arguments."""
    access = PercpuAccess(machine)
    system = machine.system
    work = {system.work_function: system.work_path} if system.work_function else {}
    return {
        "pcpu_alloc": system.alloc,
        "free_percpu": system.free,
        **work,
        "this_cpu_read": access.this_cpu_read,
        "this_cpu_write": access.this_cpu_write,
        "this_cpu_add": access.this_cpu_add,
        "per_cpu_ptr": access.per_cpu_ptr,
        "per_cpu": access.per_cpu,
        "load_module": machine.modules.load_module,
        "delete_module": machine.modules.delete_module,
        "do_free_init": machine.modules.do_free_init,
        "try_module_get": machine.modules.try_module_get,
        "module_put": machine.modules.module_put,
        **memory_call_table(machine),
        **hotplug_call_table(machine),
    }
