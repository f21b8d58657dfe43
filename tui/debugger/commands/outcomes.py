"""What came of a call, in words: why there was no memory, what an access cost its CPU's TLB.

no room for 32000 bytes: ptr 0
percpu: allocation failed, …                                  what the kernel printed meanwhile
1 request for pages failed as told so far; …                  because somebody wished so
"""

from __future__ import annotations

from dataclasses import replace

from kernel_sim.events import Printk
from kernel_sim.mm.tlb import TlbCounters
from tui.debugger.session import Session
from tui.debugger.table import count

REFUSALS = ("illegal size (", "requested is more than ")
"""What the kernel's lines say when a request itself is wrong, whatever room there is."""


def why_refused(session: Session, first_event: int, size: int) -> tuple[str, ...] | None:
    """Return the kernel's lines about a request that it refused unseen, None if it was not refused."""
    lines = _printed(session, first_event)
    refusals = tuple(line for line in lines if any(words in line for words in REFUSALS))
    return refusals if refusals or not size else None


def why_no_memory(session: Session, first_event: int) -> tuple[str, ...]:
    """Return what tells why a call got no memory: the kernel's lines since an event, and what to look at."""
    lines = _printed(session, first_event)
    pages = session.machine.pages
    if pages.fault is not None and pages.fault.nr_failed:
        failed = count(pages.fault.nr_failed, "request")
        lines.append(f"{failed} for pages failed as told so far; fail page-alloc off ends that")
    elif pages.fail_after == 0:
        lines.append("pages fail as told; fail-pages never ends that")
    elif not lines:
        lines.append("zones tells what each zone has left")
    return tuple(lines)


def _printed(session: Session, first_event: int) -> list[str]:
    """Return the lines that the kernel printed since an event."""
    events = (session.event(number).event for number in range(first_event, session.nr_events))
    return [event.text for event in events if isinstance(event, Printk)]


def access_cost(session: Session, cpu: int, before: TlbCounters | None) -> str:
    """Return what the TLB of a CPU had to do since its counters were copied: `TLB miss, …`."""
    tlb = session.machine.tlbs.get(cpu)
    if tlb is None or before is None:
        return ""
    now = tlb.counters
    references = now.walk_references - before.walk_references
    if now.misses > before.misses:
        return f": TLB miss, {references} table entries read"
    level = "L1" if now.l1_hits > before.l1_hits else "L2"
    dirty = f", {references} table entries read to set the dirty bit" if references else ""
    return f": TLB hit in {level}{dirty}"


def tlb_counters(session: Session, cpu: int) -> TlbCounters | None:
    """Return a copy of what the TLB of a CPU counted, None if it has none."""
    tlb = session.machine.tlbs.get(cpu)
    return None if tlb is None else replace(tlb.counters)
