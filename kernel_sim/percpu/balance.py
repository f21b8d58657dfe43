"""The background work of the bitmap allocator: what `pcpu_balance_workfn` does when it is asked to.

    1  spare chunks       all wholly free ones but the first on the list are destroyed
    2  pages to take      the empty pages of isolated chunks go back, highest first, while enough are left
    3  pages to make      a few empty pages are kept ready for atomic requests
    4  spare chunks       those that have no ready page

It holds pcpu_alloc_mutex throughout and drops pcpu_lock around everything slow, so frees and atomic
requests of other CPUs come between. Source: Linux 6.1 mm/percpu.c.
"""

from __future__ import annotations

from kernel_sim.mm.gfp import GFP_KERNEL, GFP_NORETRY, GFP_NOWARN
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.chunk import Chunk
from kernel_sim.percpu.reclaim import EMPTY_POP_PAGES_HIGH


async def pcpu_balance_workfn(percpu: BitmapPercpu, cpu: int) -> None:
    """Destroy spare chunks, take pages away, make pages ready for atomic requests.

    Source: Linux 6.1 mm/percpu.c, pcpu_balance_workfn().
    """
    await percpu.mutex
    await percpu.lock
    await pcpu_balance_free(percpu, cpu, empty_only=False)
    await pcpu_reclaim_populated(percpu, cpu)
    await pcpu_balance_populated(percpu, cpu)
    await pcpu_balance_free(percpu, cpu, empty_only=True)
    percpu.lock.release()
    percpu.mutex.release()


async def pcpu_balance_free(percpu: BitmapPercpu, cpu: int, empty_only: bool) -> None:
    """Destroy wholly free chunks but the first; with empty_only those without a ready page.

    Context: pcpu_lock held, dropped and taken again where there is something to do.
    """
    spare = [
        chunk
        for chunk in percpu.slots.lists[percpu.slots.free][1:]
        if not empty_only or not chunk.nr_empty_pop_pages
    ]
    if not spare:
        return
    for chunk in spare:
        percpu.slots.remove(chunk)
    percpu.lock.release()
    for chunk in reversed(spare):
        for start, end in tuple(chunk.populated_runs()):
            await percpu.backing.pcpu_depopulate_chunk(cpu, chunk, start, end)
            await percpu.lock
            percpu.count_depopulated(chunk, start, end)
            percpu.lock.release()
        await percpu.backing.pcpu_destroy_chunk(cpu, chunk)
    await percpu.lock


async def pcpu_reclaim_populated(percpu: BitmapPercpu, cpu: int) -> None:
    """Take the empty pages of isolated chunks away, highest first, as long as enough are left.

    Context: pcpu_lock held, dropped around every range.
    """
    to_depopulate = percpu.slots.lists[percpu.slots.to_depopulate]
    while to_depopulate:
        chunk = to_depopulate[0]
        lowest, highest = chunk.nr_pages, 0
        reintegrate = False
        end = 0
        page = chunk.nr_pages - 1
        while page >= 0 and chunk.nr_empty_pop_pages:
            if percpu.nr_empty_pop_pages < EMPTY_POP_PAGES_HIGH:
                reintegrate = True
                break
            if chunk.is_empty_page(page):
                end = end or page + 1
                if page > 0:
                    page -= 1
                    continue
                page -= 1
            if end:
                start = page + 1
                percpu.lock.release()
                await percpu.backing.pcpu_depopulate_chunk(cpu, chunk, start, end)
                await percpu.lock
                percpu.count_depopulated(chunk, start, end)
                lowest, highest = min(lowest, start), max(highest, end)
                end = 0
            page -= 1
        if lowest < highest:
            percpu.lock.release()
            await percpu.backing.pcpu_post_unmap_tlb_flush(cpu, chunk, lowest, highest)
            await percpu.lock
        if reintegrate or chunk.free_bytes == percpu.unit_size_bytes:
            percpu.reintegrate(chunk)
        else:
            percpu.slots.move(chunk, percpu.slots.sidelined, to_front=False)


async def pcpu_balance_populated(percpu: BitmapPercpu, cpu: int) -> None:
    """Back pages ahead of need, so that atomic requests find some.

    Context: pcpu_lock held, dropped around every population.
    """
    gfp = GFP_KERNEL | GFP_NORETRY | GFP_NOWARN
    while True:
        nr_to_pop = _pages_wanted(percpu)
        for slot in range(percpu.slots.of_size(PAGE_SIZE_BYTES), percpu.slots.free + 1):
            if not nr_to_pop:
                break
            chunk = _first_with_holes(percpu, slot)
            if chunk is None:
                continue
            for start, end in tuple(chunk.unpopulated_runs(0, chunk.nr_pages)):
                end = min(end, start + nr_to_pop)
                percpu.lock.release()
                done = await percpu.backing.pcpu_populate_chunk(cpu, chunk, start, end, gfp)
                await percpu.lock
                if done:
                    nr_to_pop -= end - start
                    percpu.count_populated(chunk, start, end)
                else:
                    nr_to_pop = 0
                if not nr_to_pop:
                    break
        if not nr_to_pop:
            return
        percpu.lock.release()
        fresh = await percpu.backing.pcpu_create_chunk(cpu, gfp)
        await percpu.lock
        if fresh is None:
            return
        percpu.relocate(fresh, -1)


def _pages_wanted(percpu: BitmapPercpu) -> int:
    if percpu.atomic_alloc_failed:
        percpu.atomic_alloc_failed = False
        return EMPTY_POP_PAGES_HIGH
    return min(max(EMPTY_POP_PAGES_HIGH - percpu.nr_empty_pop_pages, 0), EMPTY_POP_PAGES_HIGH)


def _first_with_holes(percpu: BitmapPercpu, slot: int) -> Chunk | None:
    for chunk in percpu.slots.lists[slot]:
        if chunk.nr_populated < chunk.nr_pages:
            return chunk
    return None
