"""The allocator alone, run op by op without memory or time, with its state kept for a way back.

Working out the order of a real log means trying: run some lines, find that one does not fit, go back, and
try another order. Here the real allocator code runs on the `plan` backing, each call to its end, and
save() / restore() move between moments cheaply, because chunks that nothing touched are shared.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass

from kernel_sim.events import Event, PercpuCreateChunk, PercpuDestroyChunk
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from kernel_sim.percpu.backing_plan import PlanBacking
from kernel_sim.percpu.balance import pcpu_balance_workfn
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.first_chunk import setup_first_chunk
from kernel_sim.percpu.slots import ChunkSlots
from kernel_sim.percpu.state import Dump, dump_chunk, dump_percpu, load_chunk, load_percpu
from kernel_sim.percpu.unit_layout import AllocInfo
from kernel_sim.primitives import Wish, run_undisturbed

PLAN_BASE_ADDR = 0xFFFF888000000000


@dataclass(frozen=True, slots=True)
class Saved:
    """A moment to which the engine can go back; no work is under way in it."""

    percpu: Dump
    chunks: dict[int, Dump]
    asked_cpu: int


class PlanEngine:
    """A bitmap allocator, the chunk events it produced and whether the work is asked for."""

    def __init__(self, info: AllocInfo) -> None:
        """Start as just after boot on a machine of that unit layout."""
        self.produced: list[tuple[str, int]] = []  # ('create' | 'destroy', chunk number)
        self.asked_cpu = -1  # CPU on which the work is queued, or -1
        self.work_path: Coroutine[Wish, None, None] | None = None  # a run of the work that was cut
        self.chunk_dumps: dict[int, Dump] = {}
        self.percpu = BitmapPercpu(
            host=self,
            backing=PlanBacking(),
            nr_possible_cpus=len(info.unit_map),
            unit_size_bytes=info.unit_size_bytes,
            base_addr=PLAN_BASE_ADDR,
            slots=ChunkSlots.for_unit(info.unit_size_bytes),
        )
        setup_first_chunk(
            self.percpu,
            static_size_bytes=info.static_size_bytes,
            reserved_size_bytes=info.reserved_size_bytes,
            dyn_size_bytes=info.dyn_size_bytes,
        )

    # -- what the allocator tells ------------------------------------------------------------------

    def emit(self, cpu: int, event: Event) -> None:
        """Keep chunk events; the rest is known already."""
        if isinstance(event, PercpuCreateChunk):
            self.produced.append(("create", self.percpu.chunk_by_base[event.base_addr].number))
        elif isinstance(event, PercpuDestroyChunk):
            self.produced.append(("destroy", self.percpu.chunk_by_base[event.base_addr].number))

    def printk(self, cpu: int, level: int, text: str) -> None:
        """Nobody reads a plan's log."""

    def schedule_work(self, cpu: int, work: str) -> None:
        """Remember who asked first."""
        if self.asked_cpu < 0:
            self.asked_cpu = cpu

    # -- operations --------------------------------------------------------------------------------

    def alloc(
        self, cpu: int, size: int, align: int, reserved: bool, is_atomic: bool
    ) -> tuple[int, int] | None:
        """Allocate and return (chunk number, offset), or None if there is no room."""
        gfp = GFP_ATOMIC if is_atomic else GFP_KERNEL
        percpu = self.percpu
        ptr = run_undisturbed(percpu.pcpu_alloc(cpu, size, align, reserved, gfp, ""))
        if not ptr:
            return None
        addr = percpu.addr_of(ptr)
        chunk = percpu.chunk_of(addr)
        assert chunk is not None, f"allocated {ptr:#x} outside every chunk"
        return chunk.number, addr - chunk.base_addr

    def free(self, cpu: int, number: int, off: int) -> bool:
        """Free the area at an offset of a chunk; False if none starts there."""
        chunk = self.percpu.chunks.get(number)
        if chunk is None or off & 3 or not chunk.area_bits(off >> 2):
            return False
        ptr = self.percpu.ptr_of(chunk.base_addr + off)
        run_undisturbed(self.percpu.free_percpu(cpu, ptr))
        return True

    def free_ptr(self, cpu: int, ptr: int) -> None:
        """Free the area at a __percpu pointer of the first unit. Raises DoubleFree."""
        run_undisturbed(self.percpu.free_percpu(cpu, ptr))

    def run_work(self, nr_stretches: int | None = None) -> None:
        """Run the background work, or go on with a run that was cut.

        With nr_stretches it is cut where it wants the lock again after having dropped it that often,
        if it gets there; work_path then tells that it is not over.
        """
        if self.work_path is None:
            cpu = max(self.asked_cpu, 0)
            self.asked_cpu = -1
            self.work_path = pcpu_balance_workfn(self.percpu, cpu)
        else:
            self.percpu.lock.holder = 0  # the lock it was cut at
        nr_waits = 0
        while True:
            try:
                wish = self.work_path.send(None)
            except StopIteration:
                self.work_path = None
                return
            if wish is self.percpu.lock:
                nr_waits += 1
                if nr_stretches is not None and nr_waits > nr_stretches:
                    return
            if wish is not None:
                wish.holder = 0

    def force_create(self) -> int:
        """Make a chunk, as the log says, and return its number."""
        percpu = self.percpu
        run_undisturbed(percpu.backing.pcpu_create_chunk(0, GFP_KERNEL))
        chunk = percpu.chunks[percpu.next_number - 1]
        percpu.enlist(chunk)
        self.produced.clear()
        return chunk.number

    def force_destroy(self, number: int) -> None:
        """Drop a chunk, as the log says, with whatever is in it."""
        percpu = self.percpu
        percpu.delist(percpu.chunks[number])
        run_undisturbed(percpu.backing.pcpu_destroy_chunk(0, percpu.chunks[number]))
        self.produced.clear()

    # -- moments -----------------------------------------------------------------------------------

    def save(self) -> Saved:
        """Keep this moment."""
        dumps = self.chunk_dumps
        live: dict[int, Dump] = {}
        for number, chunk in self.percpu.chunks.items():
            if chunk.changed or number not in dumps:
                live[number] = dump_chunk(chunk)
                chunk.changed = False
            else:
                live[number] = dumps[number]
        self.chunk_dumps = live
        return Saved(dump_percpu(self.percpu), dict(live), self.asked_cpu)

    def restore(self, saved: Saved) -> None:
        """Go back to a kept moment."""
        chunks: dict[int, Chunk] = {}
        for number, dump in saved.chunks.items():
            held = self.percpu.chunks.get(number)
            if held is not None and not held.changed and self.chunk_dumps.get(number) is dump:
                chunks[number] = held
            else:
                chunks[number] = load_chunk(dump)
        load_percpu(self.percpu, saved.percpu, chunks)
        self.chunk_dumps = dict(saved.chunks)
        self.asked_cpu = saved.asked_cpu
        self.produced.clear()
        if self.work_path is not None:
            self.work_path.close()
            self.work_path = None
