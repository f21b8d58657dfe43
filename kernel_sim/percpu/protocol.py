"""What a per-CPU memory system can do, whatever year it is from.

    boot ──► static copies stand, registers and tables are loaded
    alloc, free            dynamic areas             cpu_prepare, cpu_dead    a CPU comes, has gone
    modalloc, modfree      modules' static sections  work_path                what the kworker runs
    this_cpu, per_cpu      the way of an access, every memory reference of it really made
    stretches              all its memory, piece by piece: drawn, named, accounted, checked from that
    dump, load             its state as builtin types

Machine, loader, hotplug, recordings, views and comparison know a system only as this. There is no base
class: generations share pure cores (area maps, slots, layouts), not ancestry. A system's constructor and
its options are in its entry of catalogue.py.

A ptr is what the system hands out for an area: of all CPUs' copies at once, so never an address to follow.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from kernel_sim.percpu.owned_page import OwnedPage
from kernel_sim.percpu.stretch import Stretch
from kernel_sim.primitives import Lock, Wish

if TYPE_CHECKING:
    from kernel_sim.percpu.boot_log import BootLine

IntPath: TypeAlias = Coroutine[Wish, None, int]
Path: TypeAlias = Coroutine[Wish, None, None]
Parts: TypeAlias = dict[str, object]
Load: TypeAlias = Callable[[int, int], int]
"""load(addr, size_bytes): the value there, as one data reference of the CPU that accesses."""

MODALLOC_SAID: Final = -1
"""Result of modalloc(): no room, and the kernel log has a line about it, or the kernel printed none."""


class PercpuSystem(Protocol):
    """One machine's per-CPU memory. Sizes in bytes, addresses virtual."""

    @property
    def name(self) -> str:
        """Its name in the catalogue."""
        ...

    @property
    def percpu_start(self) -> int:
        """What names the first byte of the static section: __per_cpu_start, or 0 where that is so."""
        ...

    @property
    def static_bytes(self) -> int:
        """The size of the kernel's static section."""
        ...

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Its locks, the same objects for life: shown, and those with interrupts off keep them out."""
        ...

    @property
    def module_align_max(self) -> int:
        """The largest alignment that a module's section gets; more is cut down to it, with a line."""
        ...

    @property
    def zeroes(self) -> bool:
        """Whether a new dynamic area is promised to be zero in every copy."""
        ...

    @property
    def keeps_alignment(self) -> bool:
        """Whether every copy of a dynamic area is promised to lie as aligned as was asked."""
        ...

    def boot_lines(self) -> tuple[BootLine, ...]:
        """Return what its setup printed at boot."""
        ...

    @property
    def work_function(self) -> str:
        """The kernel's name of its background work, "" if it has none."""
        ...

    # -- what kernel code calls ------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, gfp: int, call_site: str
    ) -> IntPath:
        """Return the path that allocates an area for every CPU; its result is the ptr, 0 if it failed.

        reserved: for a module's section, where dynamic areas and those are of one kind.
        """
        ...

    def free(self, cpu: int, ptr: int) -> Path:
        """Return the path that gives a dynamic area back. Raises (in the path) DoubleFree or KernelBug."""
        ...

    def modalloc(
        self, cpu: int, name: str, size: int, align: int, nr_variables: int, call_site: str
    ) -> IntPath:
        """Return the path that finds room for a module's per-CPU section.

        nr_variables: how many per-CPU variables the section has. The result is the ptr; 0 if there is no
        room, and then the loader says so; MODALLOC_SAID if the system has said it itself.
        """
        ...

    def take_image(self, cpu: int, ptr: int, image: bytes) -> bool:
        """Be shown the initial image of a module's section just before the loader copies it to every copy.

        False: there is no memory for the copies, and the load fails.
        """
        ...

    def modfree(self, cpu: int, ptr: int) -> Path:
        """Return the path that gives a module's section back."""
        ...

    def work_path(self, cpu: int) -> Path:
        """Return the path of the background work. Raises KernelBug where there is none."""
        ...

    def cpu_prepare(self, cpu: int, coming: int) -> int:
        """Do what a CPU needs before it comes up; 0 or a negative error number, then nothing was done."""
        ...

    def cpu_dead(self, cpu: int, gone: int) -> None:
        """Do what is to be done when a CPU has gone (or its coming up was undone)."""
        ...

    # -- how a copy is reached -------------------------------------------------------------------

    def this_cpu(self, load: Load, cpu: int, ptr: int) -> int:
        """Return the address of the CPU's own copy, the way its code finds it."""
        ...

    def per_cpu(self, load: Load, cpu: int, ptr: int, owner: int) -> int:
        """Return the address of owner's copy, the way code on cpu finds it."""
        ...

    def holds(self, ptr: int) -> bool:
        """Say whether ptr is of a live dynamic area or of a module's section."""
        ...

    def copy_addr(self, ptr: int, owner: int) -> int | None:
        """Return where owner's copy is, as one knows it who sees everything; None: there is no such copy."""
        ...

    def per_cpu_offset(self, cpu: int) -> int:
        """Return what __per_cpu_offset[cpu] holds; 0 for a CPU that has none."""
        ...

    def base_of(self, cpu: int) -> int:
        """Return what the CPU's base register holds (arch.base_register); 0 where none is used."""
        ...

    def note_written(self, cpu: int, addr: int) -> None:
        """Take note that a CPU wrote to an address, for who keeps track of dirty memory."""
        ...

    # -- looking ---------------------------------------------------------------------------------

    def stretches(self) -> Iterator[Stretch]:
        """Yield every stretch of memory it has, in the order in which it should be drawn."""
        ...

    def metadata_bytes(self) -> int:
        """Return bytes of bookkeeping that is in no simulated memory (structs, maps), as in C."""
        ...

    def owned_pages(self) -> Iterator[OwnedPage]:
        """Yield every page that is the system's own and comes from the page allocator."""
        ...

    def nr_pages(self) -> int:
        """Return the pages behind all copies: what /proc/meminfo calls Percpu."""
        ...

    def live_areas(self) -> Iterator[tuple[int, int]]:
        """Yield (ptr, size_bytes) of every dynamic area, as asked or as rounded by the system."""
        ...

    def facts(self) -> list[tuple[str, object]]:
        """Return figures of its own by name, for the head of its drawing."""
        ...

    def check(self, is_idle: bool) -> None:
        """Raise InvariantBroken at the first contradiction; is_idle: no call is under way."""
        ...

    def check_loaded(self) -> None:
        """Raise InvariantBroken for a state from a stranger that no such system can be in; fast."""
        ...

    # -- state -----------------------------------------------------------------------------------

    def dump(self, cache: Mapping[str, object]) -> Parts:
        """Return its state as parts; a part that did not change is the same object as in cache."""
        ...

    def load(self, parts: Mapping[str, object], cache: Mapping[str, object]) -> None:
        """Take over a dumped state. Raises KernelBug for parts that are none of this system's."""
        ...

    def unnoticed_change(self, cache: Mapping[str, object]) -> str:
        """Return what changed though it claims to be as in cache, "" if all parts are honest."""
        ...
