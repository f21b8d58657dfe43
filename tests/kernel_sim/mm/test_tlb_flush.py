"""Flushes: who is asked, when an interrupt may come in, what is forgotten; without TLBs no step is taken."""

from __future__ import annotations

import pytest

from kernel_sim.events import TlbFlush
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.tlb_flush import (
    FLUSH_ALL_PAGES,
    FLUSH_CEILING_PAGES,
    TLB_LOCAL_SHOOTDOWN,
    TLB_REMOTE_SHOOTDOWN,
)
from kernel_sim.mm.tlb_stale import stale_entries
from tests.kernel_sim.whole_machines import Whole

PAGE = 4096


def flushes(whole: Whole) -> dict[int, tuple[int, int]]:
    return {
        row.cpu: (row.event.reason, row.event.pages)
        for row in whole.machine.take_events()
        if isinstance(row.event, TlbFlush)
    }


def known_by(whole: Whole, addr: int) -> list[int]:
    """Return the CPUs whose TLB has a page, without counting as a use."""
    return [
        cpu for cpu, tlb in whole.machine.tlbs.items()
        if any(entry.virt <= addr < entry.virt + (1 << entry.shift) for _, _, entry in tlb.entries())
    ]  # fmt: skip


@pytest.fixture
def whole() -> Whole:
    """A machine whose CPUs all know the three pages of an area."""
    made = Whole()
    made.addr = made.call("vmalloc", 3 * PAGE)  # type: ignore[attr-defined]
    for cpu in range(4):
        for page in range(3):
            made.call("read", made.addr + page * PAGE, 8, cpu=cpu)  # type: ignore[attr-defined]
    made.machine.take_events()
    return made


@pytest.mark.parametrize("policy", ["round_robin", "random", "pct"])
def test_every_online_cpu_forgets_the_range_and_nothing_else(policy: str) -> None:
    whole = Whole(policy=policy)
    addr = whole.call("vmalloc", 3 * PAGE)
    for cpu in range(4):
        for page in range(3):
            whole.call("read", addr + page * PAGE, 8, cpu=cpu)
    whole.machine.take_events()
    whole.call("flush_tlb_kernel_range", addr, addr + 2 * PAGE, cpu=1)
    assert flushes(whole) == {
        cpu: (TLB_LOCAL_SHOOTDOWN if cpu == 1 else TLB_REMOTE_SHOOTDOWN, 2) for cpu in range(4)
    }
    assert (known_by(whole, addr), known_by(whole, addr + PAGE)) == ([], [])
    assert known_by(whole, addr + 2 * PAGE) == [0, 1, 2, 3]
    whole.check()


def test_many_pages_cost_the_whole_tlb(whole: Whole) -> None:
    start = whole.machine.vmalloc.end - 100 * PAGE + 1
    whole.call("flush_tlb_kernel_range", start, start + FLUSH_CEILING_PAGES * PAGE)
    assert {pages for _, pages in flushes(whole).values()} == {FLUSH_CEILING_PAGES}
    assert all(tlb.nr_entries for tlb in whole.machine.tlbs.values())
    whole.call("flush_tlb_kernel_range", start, start + (FLUSH_CEILING_PAGES + 1) * PAGE)
    assert {pages for _, pages in flushes(whole).values()} == {FLUSH_ALL_PAGES}
    assert not any(tlb.nr_entries for tlb in whole.machine.tlbs.values())


def test_a_full_flush_reaches_who_is_online_only(whole: Whole) -> None:
    whole.call("cpu_down", 2)
    whole.machine.take_events()
    whole.call("flush_tlb_all", cpu=3)
    assert sorted(flushes(whole)) == [0, 1, 3]
    whole.check()


def test_without_tlbs_no_step_is_taken() -> None:
    whole = Whole("x86-64-plain")
    for name, args in (("flush_tlb_all", ()), ("flush_tlb_kernel_range", (0, PAGE))):
        before = whole.machine.step
        whole.call(name, *args)
        assert whole.machine.step == before + 1  # the call's own end
    assert flushes(whole) == {}


def test_the_sender_waits_until_all_have_flushed(whole: Whole) -> None:
    call = whole.give(0, "flush_tlb_all")
    for _ in range(100):
        waits = any(tlb.nr_entries for tlb in whole.machine.tlbs.values())
        assert not (call.done and waits)
        whole.machine.run(whole.machine.step + 1)
    assert call.done
    assert not any(tlb.nr_entries for tlb in whole.machine.tlbs.values())
    assert sorted(flushes(whole)) == [0, 1, 2, 3]


def test_an_interrupt_comes_in_only_after_pcpu_lock_was_let_go(whole: Whole) -> None:
    machine = whole.machine
    machine.percpu.lock.holder = 2
    flush = whole.give(0, "flush_tlb_all")
    machine.run(machine.step + 4)
    assert [call.name for call in machine.cpus[2].interrupts] == ["do_flush_tlb_all"]
    assert machine.nr_held_back == 1 and not flush.done
    assert machine.cpus[2].stack == [] and machine.tlbs[2].counters.full_flushes == 0
    machine.percpu.lock.release()
    whole.drain()
    assert machine.fault is None and flush.done
    assert machine.tlbs[2].counters.full_flushes == 1
    whole.check()


def test_an_interrupt_comes_on_top_of_what_waits_for_a_mutex(whole: Whole) -> None:
    machine = whole.machine
    whole.use_up_ready_space()
    keeper = whole.give(1, "pcpu_alloc", 30000, 8, False, 0xCC0, "f")
    whole.run_until_in(keeper, "pcpu_populate_chunk")
    waiter = whole.give(2, "pcpu_alloc", 64, 8, False, 0xCC0, "f")
    machine.run(machine.step + 3)
    assert waiter.wish is machine.percpu.mutex and not keeper.done
    flush = whole.give(0, "flush_tlb_all")
    machine.run(machine.step + 1)
    assert [call.name for call in machine.cpus[2].stack] == ["pcpu_alloc", "do_flush_tlb_all"]
    whole.drain()
    assert flush.done and keeper.result and waiter.result
    whole.check()


def test_a_stale_entry_shows_when_a_flush_is_left_out_and_is_gone_after_it(whole: Whole) -> None:
    machine = whole.machine
    addr: int = whole.addr  # type: ignore[attr-defined]
    old = machine.space.unmap_page(addr)
    assert old is not None
    for tlb in machine.tlbs.values():
        (stale,) = stale_entries(tlb, machine.space)
        assert stale.entry.virt == addr and stale.reason.startswith("not mapped any more")
    assert machine.space.map_page(virt=addr, pfn=0x321, flags=PAGE_KERNEL, node=0, cpu=0)
    machine.memory.write(old << 12, b"old.")
    machine.memory.write(0x321 << 12, b"new.")
    assert whole.call("read", addr, 4).to_bytes(4, "little") == b"old."
    assert stale_entries(machine.tlbs[0], machine.space)[0].reason == (
        f"frame {old:#x} here, 0x321 in the tables"
    )
    machine.run_call(whole.give(3, "flush_tlb_kernel_range", addr, addr + PAGE))
    assert all(stale_entries(tlb, machine.space) == [] for tlb in machine.tlbs.values())
    assert whole.call("read", addr, 4).to_bytes(4, "little") == b"new."


def test_a_byte_above_33_pages_costs_the_whole_tlb(whole: Whole) -> None:
    start = whole.machine.vmalloc.start
    whole.call("flush_tlb_kernel_range", start, start + (33 << 12))
    assert whole.machine.tlbs[0].counters.full_flushes == 0
    whole.call("flush_tlb_kernel_range", start, start + (33 << 12) + 1)
    assert whole.machine.tlbs[0].counters.full_flushes == 1
