"""A backing without memory, on which the allocator places areas just as on the real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.events import Event
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.percpu.backing_plan import FAKE_BASE, PlanBacking
from kernel_sim.percpu.balance import pcpu_balance_workfn
from kernel_sim.percpu.bitmap import ADDRESS_MASK, BitmapPercpu
from kernel_sim.percpu.first_chunk import setup_first_chunk
from kernel_sim.percpu.slots import ChunkSlots

BASE = 0xFFFF888000000000


class Silent:
    """A host that keeps nothing but the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, cpu: int, event: Event) -> None:
        self.events.append(event)

    def printk(self, cpu: int, level: int, text: str) -> None:
        raise AssertionError(text)

    def schedule_work(self, cpu: int, work: str) -> None:
        assert work == "pcpu_balance_work"


def planned() -> BitmapPercpu:
    percpu = BitmapPercpu(
        host=Silent(),
        backing=PlanBacking(),
        nr_possible_cpus=4,
        unit_size_bytes=32768,
        base_addr=BASE,
        slots=ChunkSlots.for_unit(32768),
    )
    setup_first_chunk(
        percpu, static_size_bytes=6000, reserved_size_bytes=8192, dyn_size_bytes=14480 - 6000 + 6000
    )
    return percpu


def run(path: Any) -> Any:
    while True:
        try:
            wish = path.send(None)
        except StopIteration as end:
            return end.value
        if wish is not None:
            wish.holder = 0


def place_of(percpu: BitmapPercpu, ptr: int) -> tuple[int, int]:
    addr = ptr + percpu.base_addr & ADDRESS_MASK
    chunk = percpu.chunk_of(addr)
    assert chunk is not None
    return chunk.number, addr - chunk.base_addr


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), st.sampled_from([4, 8, 64, 500, 4096, 9000, 32768])),
        st.tuples(st.just("atomic"), st.sampled_from([8, 64, 1000])),
        st.tuples(st.just("free"), st.integers(0, 99)),
        st.tuples(st.just("work"), st.just(0)),
    ),
    max_size=40,
)


def test_areas_lie_where_the_full_machine_has_them(small_kernel: Callable[..., Any]) -> None:
    @given(OPS)
    @settings(max_examples=25, deadline=None)
    def agree(ops: list[tuple[str, int]]) -> None:
        kernel, plan = small_kernel(mode="scripted"), planned()
        assert plan.chunks[0].free_bytes == kernel.machine.percpu.chunks[0].free_bytes
        live: list[tuple[int, int]] = []
        for op, value in ops:
            if op == "work":
                kernel.balance()
                run(pcpu_balance_workfn(plan, 0))
            elif op == "free" and live:
                real, planned_ptr = live.pop(value % len(live))
                kernel.free(real)
                run(plan.free_percpu(0, planned_ptr))
            elif op != "free":
                gfp = GFP_KERNEL if op == "alloc" else GFP_ATOMIC
                real = kernel.alloc(value, gfp=gfp)
                planned_ptr = run(plan.pcpu_alloc(0, value, 8, False, gfp, ""))
                assert bool(real) == bool(planned_ptr)
                if real:
                    place = place_of(kernel.machine.percpu, real)
                    assert place == place_of(plan, planned_ptr)
                    live.append((real, planned_ptr))

    agree()


def test_base_addresses_are_made_up_one_unit_apart() -> None:
    percpu = planned()
    for _ in range(3):
        run(percpu.pcpu_alloc(0, 32768, 8, False, GFP_KERNEL, ""))
    bases = [percpu.chunks[number].base_addr for number in (1, 2, 3)]
    assert bases == [FAKE_BASE - 32768 * number for number in (1, 2, 3)]
