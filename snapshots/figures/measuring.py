"""How a figure is got from a machine: words of its memory, bytes of its stretches, calls that it makes."""

from __future__ import annotations

from collections.abc import Callable

from kernel_sim.call import Arg
from kernel_sim.errors import KernelBug, KernelFault
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.stretch import Stretch
from snapshots.compare.section_object import section_object
from snapshots.timeline import Timeline

CALL_SITE = "figures"
MODULE = "figures"


def word_at(run: Timeline, addr: int) -> int:
    """Return the word that simulated memory holds at an address. Raises KernelBug where nothing is mapped."""
    return int.from_bytes(bytes_at(run, addr, run.machine.arch.word_bytes), "little")


def bytes_at(run: Timeline, addr: int, nr_bytes: int) -> bytes:
    """Return what simulated memory holds, page by page. Raises KernelBug where nothing is mapped."""
    machine, found = run.machine, bytearray()
    while len(found) < nr_bytes:
        at = addr + len(found)
        phys = machine.space.translate(at)
        if phys is None:
            raise KernelBug(f"{at:#x} is not mapped")
        in_page = PAGE_SIZE_BYTES - at % PAGE_SIZE_BYTES
        found += machine.memory.read(phys, min(in_page, nr_bytes - len(found)))
    return bytes(found)


def offset_of_cpu(run: Timeline, cpu: int) -> int:
    """Return __per_cpu_offset[cpu], read from memory."""
    machine = run.machine
    return word_at(run, machine.symbol("__per_cpu_offset") + cpu * machine.arch.word_bytes)


def sum_of_bytes(run: Timeline, counts: Callable[[Stretch], bool]) -> int:
    """Return the bytes of all stretches that count."""
    return sum(each.size_bytes for each in run.machine.system.stretches() if counts(each))


def alloc(run: Timeline, size_bytes: int, align_bytes: int = 4, cpu: int = 0) -> int:
    """Allocate a dynamic area; returns its ptr, 0 if there is no room."""
    ptr = do(run, cpu, "pcpu_alloc", size_bytes, align_bytes, False, GFP_KERNEL, CALL_SITE)
    return ptr if isinstance(ptr, int) else 0


def free(run: Timeline, ptr: int, cpu: int = 0) -> None:
    """Give a dynamic area back."""
    do(run, cpu, "free_percpu", ptr)


def load_module(
    run: Timeline,
    size_bytes: int,
    align_bytes: int = 4,
    *,
    name: str = MODULE,
    nr_variables: int = 1,
) -> bool:
    """Load a module with a per-CPU section of so many variables; whether it was taken in."""
    image = section_object(run.machine.arch.name, size_bytes, align_bytes, nr_variables)
    return do(run, 0, "load_module", image, name, "") == 0


def do(run: Timeline, cpu: int, what: str, *args: Arg) -> object:
    """Let a CPU do something to its end, and return what came of it. Raises KernelFault, KernelBug."""
    call = run.take(what, cpu, args)
    if run.machine.fault is not None:
        raise KernelFault(run.machine.fault.reason)
    if call is None:
        return None
    if not call.done:
        raise KernelBug(f"{what} on cpu {cpu} did not come to its end")
    return call.result


def section_ptr(run: Timeline, name: str = MODULE) -> int:
    """Return the ptr of a loaded module's per-CPU section, 0 if it has none."""
    module = run.machine.modules.find_module(name)
    return module.percpu_ptr if module is not None else 0


def largest(fits: Callable[[int], bool], highest: int) -> int:
    """Return the largest of 1 to highest that fits, 0 if none does; whatever is smaller fits too."""
    low, high = 0, highest
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def free_pages(run: Timeline) -> int:
    """Return the free pages of the machine, those on CPUs' lists included."""
    pages = run.machine.pages
    return pages.nr_free_pages + pages.nr_list_pages
