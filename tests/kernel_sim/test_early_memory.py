from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernel_sim.early_memory import EarlyMemory, early_tables, reserve_near
from kernel_sim.mm.page_alloc import PageAllocator

MIB = 1 << 20


def two_nodes() -> PageAllocator:
    memory = {0: ((0, 16 * MIB),), 1: ((16 * MIB, 64 * MIB),)}
    return PageAllocator(memory=memory, distances=((10, 20), (20, 10)), nodes_with_cpus=(0, 1))


def test_memory_is_taken_from_the_top_of_the_node() -> None:
    pages = two_nodes()
    assert reserve_near(pages, 1, nr_bytes=MIB, align_bytes=MIB) == 63 * MIB
    assert reserve_near(pages, 0, nr_bytes=4096, align_bytes=4096) == 16 * MIB - 4096


def test_what_the_node_cannot_hold_comes_from_the_nearest() -> None:
    assert reserve_near(two_nodes(), 0, nr_bytes=32 * MIB, align_bytes=MIB) == 32 * MIB
    assert reserve_near(two_nodes(), 0, nr_bytes=128 * MIB, align_bytes=MIB) is None


def test_a_table_is_one_page_and_every_call_gives_another() -> None:
    table_page = early_tables(two_nodes())
    assert table_page(0, 0) == 4095
    assert table_page(0, 0) == 4094


def test_early_memory_knows_for_whom(small_kernel: Callable[..., Any]) -> None:
    config = small_kernel().machine.config
    pages = two_nodes()
    early = EarlyMemory(config, config.topology(), pages)
    assert early.reserve_near(1, nr_bytes=MIB, align_bytes=4096) == 63 * MIB
