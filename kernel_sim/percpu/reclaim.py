"""When a chunk has so many empty pages that some of them should go back.

Source: Linux 6.1 mm/percpu-vm.c, pcpu_should_reclaim_chunk().
"""

from __future__ import annotations

from kernel_sim.percpu.chunk import RESERVED, Chunk

FIRST = 0
EMPTY_POP_PAGES_HIGH = 4


def should_reclaim(nr_empty_pop_pages: int, chunk: Chunk) -> bool:
    """Say whether the chunk, just after a free, is to be isolated and its empty pages taken away.

    nr_empty_pop_pages counts the empty pages of all chunks that are not isolated. The first and the
    reserved chunk are never touched.
    """
    if chunk.number in (FIRST, RESERVED):
        return False
    nr_empty = chunk.nr_empty_pop_pages
    if chunk.isolated:
        return nr_empty > 0
    others_suffice = nr_empty_pop_pages > EMPTY_POP_PAGES_HIGH + nr_empty
    return others_suffice and nr_empty >= chunk.nr_pages // 4
