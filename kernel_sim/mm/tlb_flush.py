"""Making CPUs forget translations: a flush is done by each CPU itself, asked by an interrupt.

    cpu 0  flush_tlb_kernel_range ─ sends to 1, 2, 3 ─ flushes its own ─ waits for each csd lock ─►
    cpu 2                              └► do_kernel_range_flush (interrupt), its csd lock let go

Up to 33 pages are dropped one by one, more cost the whole TLB. On a machine without TLBs nothing is done
and no step is taken. Source: arch/x86/mm/tlb.c and kernel/smp.c, Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from kernel_sim.call import Arg
from kernel_sim.events import Event, TlbFlush
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.tlb import Tlb
from kernel_sim.primitives import PREEMPT, Lock

FLUSH_CEILING_PAGES: Final = 33  # tlb_single_page_flush_ceiling
FLUSH_ALL_PAGES: Final = -1  # what the tracepoint shows for a whole flush
TLB_REMOTE_SHOOTDOWN: Final = 1
TLB_LOCAL_SHOOTDOWN: Final = 2


class FlushHost(Protocol):
    """What a flush needs of the machine."""

    @property
    def tlbs(self) -> Mapping[int, Tlb]:
        """TLBs by CPU; empty where every access walks."""

    def online_cpus(self) -> tuple[int, ...]:
        """Return the CPUs that run, ascending."""

    def interrupt(self, cpu: int, name: str, args: tuple[Arg, ...]) -> Lock:
        """Let a CPU run a function in an interrupt; the lock is free when it is done."""

    def emit(self, cpu: int, event: Event) -> None:
        """Tell of an event."""


async def flush_tlb_kernel_range(host: FlushHost, cpu: int, start: int, end: int) -> None:
    """Make every online CPU forget the translations of [start, end)."""
    if host.tlbs:
        whole = end - start > FLUSH_CEILING_PAGES << PAGE_SHIFT
        if whole:
            await on_each_cpu(host, cpu, "do_flush_tlb_all", ())
        else:
            await on_each_cpu(host, cpu, "do_kernel_range_flush", (start, end))


async def flush_tlb_all(host: FlushHost, cpu: int) -> None:
    """Make every online CPU forget all translations, global ones too."""
    if host.tlbs:
        await on_each_cpu(host, cpu, "do_flush_tlb_all", ())


async def on_each_cpu(host: FlushHost, cpu: int, function: str, args: tuple[Arg, ...]) -> None:
    """Run a function on every online CPU, the others by interrupt, and wait until all have."""
    asked = [host.interrupt(each, function, args) for each in host.online_cpus() if each != cpu]
    await PREEMPT
    if function == "do_flush_tlb_all":
        flush_own(host, cpu, TLB_LOCAL_SHOOTDOWN, None)
    else:
        flush_own(host, cpu, TLB_LOCAL_SHOOTDOWN, (int(args[0]), int(args[1])))
    for csd in asked:
        await csd
        csd.release()


async def do_flush_tlb_all(host: FlushHost, cpu: int) -> None:
    """Drop all translations of this CPU. Context: interrupt."""
    await PREEMPT
    flush_own(host, cpu, TLB_REMOTE_SHOOTDOWN, None)


async def do_kernel_range_flush(host: FlushHost, cpu: int, start: int, end: int) -> None:
    """Drop this CPU's translations of a range, page by page. Context: interrupt."""
    await PREEMPT
    flush_own(host, cpu, TLB_REMOTE_SHOOTDOWN, (start, end))


def flush_own(host: FlushHost, cpu: int, reason: int, span: tuple[int, int] | None) -> None:
    """Flush one CPU's own TLB, a range or all of it, and tell."""
    tlb = host.tlbs[cpu]
    if span is None:
        tlb.flush_all(keep_global=False)
        nr_pages = FLUSH_ALL_PAGES
    else:
        tlb.flush_range(*span)
        nr_pages = (span[1] - span[0]) >> PAGE_SHIFT
    host.emit(cpu, TlbFlush(reason, nr_pages))
