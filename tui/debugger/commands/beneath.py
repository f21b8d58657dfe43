"""Acting on the machine beneath: pages, slab objects, areas, plain addresses, translations.

Each is a call of the kernel that some CPU makes, step by step; see call_words.py for who and when.
"""

from __future__ import annotations

from kernel_sim.mm.buddy import MAX_PAGE_ORDER
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tui.debugger.commands.acting import WORD_BYTES, act, told
from tui.debugger.commands.call_words import GFP, NODE, call_words, words_argument
from tui.debugger.commands.outcomes import access_cost, tlb_counters, why_no_memory
from tui.debugger.commands.registry import (
    ADDRESS,
    NUMBER,
    ONLINE_CPU,
    Argument,
    Command,
    Seat,
    Value,
    one_of,
)
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session
from tui.debugger.table import count
from tui.debugger.views.vmalloc import vmalloc_view

GROUP = "acting on the machine beneath"
ORDER_MAX = 99  # more is a slip of the finger, not a wish to see it fail
NO_PFN = -1
TLB = "tlb"


async def kmalloc(seat: Seat, size: int, *words: Value) -> Output:
    """Ask for a slab object."""
    said = call_words(seat.session, words)
    first_event = seat.session.event_index
    result = await act(seat, said.cpu, "kmalloc_node", size, said.gfp, said.node, later=said.later)
    if not isinstance(result, int):
        return _unfinished(seat, "kmalloc_node", result)
    if not result:
        why = why_no_memory(seat.session, first_event)
        return told(seat, f"no memory for {size} bytes: address 0", *why)
    slab = seat.session.machine.slab
    room = slab.ksize(result - seat.session.machine.arch.direct_map_addr)
    return told(seat, f"address {result:#x}, room for {room} bytes")


async def kfree(seat: Seat, address: int, *words: Value) -> Output:
    """Give a slab object back."""
    return await _simple(seat, f"freed {address:#x}", words, "kfree", address)


async def vmalloc(seat: Seat, size: int | None = None, *words: Value) -> Output:
    """Take an area with pages; without a size, list all areas."""
    if size is None:
        return Output(table=vmalloc_view(seat.session))
    said = call_words(seat.session, words)
    first_event = seat.session.event_index
    result = await act(seat, said.cpu, "vmalloc", size, later=said.later)
    if not isinstance(result, int):
        return _unfinished(seat, "vmalloc", result)
    if not result:
        why = why_no_memory(seat.session, first_event)
        return told(seat, f"no memory for {size} bytes: address 0", *why)
    nr_pages = -(-size // PAGE_SIZE_BYTES)
    return told(seat, f"address {result:#x}, {count(nr_pages, 'page')}")


async def vfree(seat: Seat, address: int, *words: Value) -> Output:
    """Give an area back; its addresses are free after the next purge."""
    return await _simple(seat, f"freed {address:#x}", words, "vfree", address)


async def pages(seat: Seat, order: int, *words: Value) -> Output:
    """Ask for 2^order pages."""
    if order > ORDER_MAX:
        raise CommandError(f"pages: order {order}; the largest block has order {MAX_PAGE_ORDER}")
    said = call_words(seat.session, words)
    first_event = seat.session.event_index
    result = await act(seat, said.cpu, "alloc_pages", order, said.gfp, said.node, later=said.later)
    if not isinstance(result, int):
        return _unfinished(seat, "alloc_pages", result)
    if result == NO_PFN:
        why = why_no_memory(seat.session, first_event)
        return told(seat, f"no pages of order {order}", *why)
    node = seat.session.machine.pages.node_of_pfn(result)
    return told(seat, f"pfn {result:#x} on node {node}, {count(1 << order, 'page')}")


async def free_pages(seat: Seat, pfn: int, order: int, *words: Value) -> Output:
    """Give pages back."""
    return await _simple(seat, f"freed page {pfn:#x}", words, "free_pages", pfn, order)


async def drain(seat: Seat, *words: Value) -> Output:
    """Give what is on all CPUs' lists back to the zones."""
    before = seat.session.machine.pages.nr_list_pages
    text = f"drained {count(before, 'page')} from the lists of CPUs"
    return await _simple(seat, text, words, "drain_all_pages")


async def load(seat: Seat, cpu: int, address: int, size: int | None = None) -> Output:
    """Let a CPU read an address, through its TLB and the page tables."""
    before = tlb_counters(seat.session, cpu)
    result = await act(seat, cpu, "read", address, _access_size(seat.session, size))
    if not isinstance(result, int):
        return _unfinished(seat, "read", result)
    cost = access_cost(seat.session, cpu, before)
    return told(seat, f"cpu {cpu} reads {result:#x} at {address:#x}{cost}")


async def store(seat: Seat, cpu: int, address: int, value: int, size: int | None = None) -> Output:
    """Let a CPU write to an address, through its TLB and the page tables."""
    nr_bytes = _access_size(seat.session, size)
    before = tlb_counters(seat.session, cpu)
    result = await act(seat, cpu, "write", address, value, nr_bytes)
    if isinstance(result, Output):
        return result
    cost = access_cost(seat.session, cpu, before)
    return told(seat, f"cpu {cpu} wrote {value:#x} at {address:#x}{cost}")


def _access_size(session: Session, size: int | None) -> int:
    nr_bytes = session.machine.arch.word_bytes if size is None else size
    if not 0 < nr_bytes <= WORD_BYTES:
        raise CommandError(f"{nr_bytes} bytes: expected 1 to {WORD_BYTES}")
    return nr_bytes


async def flush(seat: Seat, what: str, *bounds: int) -> Output:
    """Make every CPU forget all translations, or those of a range."""
    cpu = call_words(seat.session, ()).cpu
    if not seat.session.machine.tlbs:
        raise CommandError(f"flush {what}: this machine has no TLBs")
    if not bounds:
        result = await act(seat, cpu, "flush_tlb_all")
        return result if isinstance(result, Output) else told(seat, "all TLBs are empty")
    start, end = bounds if len(bounds) > 1 else (bounds[0], bounds[0] + PAGE_SIZE_BYTES)
    if start >= end:
        raise CommandError(f"flush: nothing lies between {start:#x} and {end:#x}")
    result = await act(seat, cpu, "flush_tlb_kernel_range", start, end)
    if isinstance(result, Output):
        return result
    return told(seat, f"{start:#x}-{end:#x} is flushed from all TLBs")


async def _simple(seat: Seat, text: str, words: tuple[Value, ...], do: str, *args: int) -> Output:
    """Make a call that returns nothing."""
    said = call_words(seat.session, words)
    result = await act(seat, said.cpu, do, *args, later=said.later)
    return result if isinstance(result, Output) else told(seat, text)


def _unfinished(seat: Seat, do: str, result: object) -> Output:
    """Return what went wrong, or that the call waits for something."""
    if isinstance(result, Output):
        return result
    return told(seat, f"{do} has not ended: see cpus and locks")


SIZE = Argument("SIZE", NUMBER)
WORD_SIZE = Argument("SIZE", NUMBER, optional=True)
ON = Argument("CPU", ONLINE_CPU)
AT = Argument("ADDRESS", ADDRESS)
CPU_WORDS = words_argument()

COMMANDS = (
    Command(
        "kmalloc", (), GROUP, (SIZE, words_argument(NODE, GFP)),
        "allocate a slab object of SIZE bytes; a number behind it is the node", kmalloc,
    ),
    Command("kfree", (), GROUP, (AT, CPU_WORDS), "free a slab object", kfree),
    Command(
        "vmalloc", (), GROUP, (Argument("SIZE", NUMBER, optional=True), CPU_WORDS),
        "take an area of SIZE bytes with its pages; without SIZE list all areas", vmalloc,
    ),
    Command("vfree", (), GROUP, (AT, CPU_WORDS), "give an area back", vfree),
    Command(
        "pages", ("alloc_pages",), GROUP, (Argument("ORDER", NUMBER), words_argument(NODE, GFP)),
        "allocate 2^ORDER pages; a number behind it is the node", pages,
    ),
    Command(
        "free_pages", ("free-pages",), GROUP,
        (Argument("PFN", NUMBER), Argument("ORDER", NUMBER), CPU_WORDS),
        "give pages back", free_pages,
    ),
    Command(
        "drain", ("drain_all_pages",), GROUP, (CPU_WORDS,),
        "give the pages on all CPUs' lists back to the zones", drain,
    ),
    Command(
        "load", ("peek",), GROUP, (ON, AT, WORD_SIZE),
        "a CPU reads an address through its TLB, 1 to 8 bytes", load,
    ),
    Command(
        "store", ("poke",), GROUP, (ON, AT, Argument("VALUE", NUMBER), WORD_SIZE),
        "a CPU writes to an address through its TLB, 1 to 8 bytes", store,
    ),
    Command(
        "flush", (), GROUP,
        (Argument(TLB, one_of(TLB)), Argument("START", ADDRESS, optional=True),
         Argument("END", ADDRESS, optional=True)),
        "flush all TLBs: everything, the page at START, or START to END", flush,
    ),
)  # fmt: skip
