"""The machine as the module loader sees it: memory for images, per-CPU areas, symbols, the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.paging import NX, RW
from kernel_sim.mm.tlb_flush import flush_tlb_kernel_range
from kernel_sim.mm.vmalloc_pages import module_alloc, module_memfree
from kernel_sim.modules.host import RO, ROX, IntPath, Path
from kernel_sim.modules.module_events import ModuleEvent

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

_CHANGES = {ROX: (0, RW | NX), RO: (NX, RW)}  # bits to set, bits to clear
_RW_NX = (RW | NX, 0)


class MachineModuleHost:
    """One machine, behind the protocol of kernel_sim/modules/host.py."""

    page_size = PAGE_SIZE_BYTES

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.arch = machine.arch.name
        self.possible_cpus = machine.topology.possible

    def module_alloc(self, cpu: int, size_bytes: int) -> IntPath:
        """Return the address of whole pages in the module space, writable, or None."""
        return module_alloc(self.machine, cpu, size_bytes)

    def module_memfree(self, cpu: int, addr: int) -> Path:
        """Give such an area back."""
        return module_memfree(self.machine, cpu, addr)

    def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the __percpu pointer of a new area."""
        return self.machine.system.alloc(cpu, size, align, reserved, gfp, call_site)

    def free_percpu(self, cpu: int, ptr: int) -> Path:
        """Give a per-CPU area back."""
        return self.machine.system.free(cpu, ptr)

    def write(self, cpu: int, addr: int, data: bytes) -> None:
        """Write to simulated memory. Raises PageFault."""
        self.machine.access.write(cpu, addr, data)
        self.machine.system.note_written(cpu, addr)

    def read(self, cpu: int, addr: int, nr_bytes: int) -> bytes:
        """Read simulated memory. Raises PageFault."""
        return self.machine.access.read(cpu, addr, nr_bytes)

    @property
    def percpu_align_max(self) -> int:
        """The largest alignment of a per-CPU section."""
        return self.machine.system.module_align_max

    @property
    def percpu_pointer_bytes(self) -> int:
        """Bytes of a module's pointer for each per-CPU variable."""
        return self.machine.module_pointer_bytes

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the ptr of a new per-CPU section."""
        return self.machine.system.modalloc(cpu, name, size, align, nr_variables, call_site)

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Show the per-CPU system a section's initial image."""
        return self.machine.system.take_image(cpu, ptr, image)

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Give a per-CPU section back."""
        return self.machine.system.modfree(cpu, ptr)

    def per_cpu_addr(self, ptr: int, cpu: int) -> int | None:
        """Return the address of a CPU's copy, None if it has none."""
        return self.machine.system.copy_addr(ptr, cpu)

    def set_memory(self, cpu: int, addr: int, nr_pages: int, kind: str) -> bool:
        """Set the protection of pages; False if a large page could not be split."""
        set_bits, clear_bits = _CHANGES.get(kind, _RW_NX)
        return self.machine.space.change_flags(
            virt=addr,
            nr_pages=nr_pages,
            set_bits=set_bits,
            clear_bits=clear_bits,
            node=self.machine.cpus[cpu].node,
            cpu=cpu,
        )

    def schedule_work(self, cpu: int, work: str) -> None:
        """Let the CPU's kworker make a call after the one that runs, unless work is scripted."""
        self.machine.queue_call(cpu, work)

    async def flush_tlb_kernel_range(self, cpu: int, start: int, end: int) -> None:
        """Make every CPU forget what it knew of pages whose protection changed."""
        await flush_tlb_kernel_range(self.machine, cpu, start, end)

    def kernel_symbol(self, name: str) -> int | None:
        """Return the address that the kernel exports under a name, or None."""
        return self.machine.symbols.get(name)

    def is_percpu_symbol(self, name: str) -> bool:
        """Say whether the kernel's symbol of that name is a __percpu pointer."""
        return self.machine.percpu_symbol_offset(name) is not None

    def printk(self, cpu: int, level: int, text: str) -> None:
        """Add a line to the kernel log."""
        self.machine.printk(cpu, level, text)

    def emit(self, cpu: int, event: ModuleEvent) -> None:
        """Tell of an event."""
        self.machine.emit(cpu, event)
