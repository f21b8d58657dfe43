"""What the loader asks of the machine it runs on."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Protocol

from kernel_sim.modules.module_events import ModuleEvent
from kernel_sim.primitives import Wish

ROX = "ro+x"
RO = "ro"
RW_NX = "rw+nx"

IntPath = Coroutine[Wish, None, "int | None"]
Path = Coroutine[Wish, None, None]


class ModuleHost(Protocol):
    """A machine: memory, per-CPU areas, the kernel's own symbols, the log.

    Addresses are virtual, sizes in bytes, a ptr is a __percpu pointer. An allocation that fails returns
    None or 0.
    """

    @property
    def page_size(self) -> int:
        """Bytes of a page."""
        ...

    @property
    def arch(self) -> str:
        """x86-64 or i386: objects of another kind are refused."""
        ...

    @property
    def possible_cpus(self) -> tuple[int, ...]:
        """Every CPU that may ever come up; each has its copy of a per-CPU area."""
        ...

    def module_alloc(self, cpu: int, size_bytes: int) -> IntPath:
        """Return the address of whole pages in the module space, writable, or None."""
        ...

    def module_memfree(self, cpu: int, addr: int) -> Path:
        """Give such an area back, whatever protections its pages have by now."""
        ...

    def pcpu_alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the __percpu pointer of a new area; reserved: from the reserved chunk first."""
        ...

    @property
    def percpu_align_max(self) -> int:
        """The largest alignment that a per-CPU section gets."""
        ...

    @property
    def percpu_pointer_bytes(self) -> int:
        """Bytes of the pointer that a module has for each of its per-CPU variables; 0: none."""
        ...

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the ptr of a new per-CPU section; 0 without room, MODALLOC_SAID if that was said."""
        ...

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Show a section's initial image before it is copied; False: there is no memory for the copies."""
        ...

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Give a per-CPU section back."""
        ...

    def free_percpu(self, cpu: int, ptr: int) -> Path:
        """Give a per-CPU area back."""
        ...

    def write(self, cpu: int, addr: int, data: bytes) -> None:
        """Write to simulated memory. Raises PageFault."""
        ...

    def read(self, cpu: int, addr: int, nr_bytes: int) -> bytes:
        """Read simulated memory. Raises PageFault."""
        ...

    def per_cpu_addr(self, ptr: int, cpu: int) -> int | None:
        """Return the address of a CPU's copy, None if it has none."""
        ...

    def set_memory(self, cpu: int, addr: int, nr_pages: int, kind: str) -> bool:
        """Set the protection of pages: ROX, RO or RW_NX; False if that failed."""
        ...

    def schedule_work(self, cpu: int, work: str) -> None:
        """Ask the CPU's kworker to make a call of the loader, named by its function, later."""
        ...

    def flush_tlb_kernel_range(self, cpu: int, start: int, end: int) -> Path:
        """Make every CPU forget the translations of [start, end): a right was taken away."""
        ...

    def kernel_symbol(self, name: str) -> int | None:
        """Return the address that the kernel exports under a name, or None."""
        ...

    def is_percpu_symbol(self, name: str) -> bool:
        """Say whether the kernel's symbol of that name is a __percpu pointer."""
        ...

    def printk(self, cpu: int, level: int, text: str) -> None:
        """Add a line to the kernel log."""
        ...

    def emit(self, cpu: int, event: ModuleEvent) -> None:
        """Tell of an event."""
        ...
