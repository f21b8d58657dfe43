"""The page allocator of a machine: who is asked first, who gives, and what if none can."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.gfp import GFP_DMA, GFP_DMA32, GFP_KERNEL, GFP_THISNODE
from kernel_sim.mm.page_alloc import PageAllocator, build_fallback_orders

MIB = 1 << 20
GIB = 1 << 30
FOUR_NODES = ((10, 15, 21, 31), (15, 10, 25, 21), (21, 25, 10, 15), (31, 21, 15, 10))
"""Distances of the machine whose kernel printed the fallback orders below."""


def two_nodes() -> PageAllocator:
    """Return 64 MiB on node 0, most of it DMA32, and 8 MiB above 4 GiB on node 1."""
    return PageAllocator(
        memory={0: ((0, 64 * MIB),), 1: ((4 * GIB, 4 * GIB + 8 * MIB),)},
        distances=((10, 20), (20, 10)),
        nodes_with_cpus=(0, 1),
    )


def test_fallback_orders_are_those_a_real_kernel_printed() -> None:
    assert build_fallback_orders(FOUR_NODES, (0, 1, 2, 3), (0, 1, 2, 3)) == (
        (0, 1, 2, 3),
        (1, 0, 3, 2),
        (2, 3, 0, 1),
        (3, 2, 1, 0),
    )


def test_equally_far_nodes_are_taken_in_turn_from_the_next_higher_one() -> None:
    even = tuple(tuple(10 if a == b else 20 for b in range(4)) for a in range(4))
    assert build_fallback_orders(even, (0, 1, 2, 3), (0, 1, 2, 3)) == (
        (0, 1, 2, 3),
        (1, 2, 3, 0),
        (2, 3, 0, 1),
        (3, 0, 1, 2),
    )


def test_a_node_without_cpus_is_preferred_and_one_without_memory_left_out() -> None:
    even = tuple(tuple(10 if a == b else 20 for b in range(4)) for a in range(4))
    orders = build_fallback_orders(even, (0, 1, 3), (0, 1, 2))
    assert orders[0] == (0, 3, 1)
    assert orders[2][0] == 3
    assert all(2 not in order for order in orders)


def search_by_repetition(
    distances: tuple[tuple[int, ...], ...], with_memory: tuple[int, ...], with_cpus: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """Build fallback orders as described: again and again the cheapest node not yet used."""
    load = dict.fromkeys(range(len(distances)), 0)
    orders = []
    for local in range(len(distances)):
        used = [local] if local in with_memory else []
        previous = local
        while len(used) < len(with_memory):
            best, best_cost = -1, 1 << 62
            for node in with_memory:
                cost = distances[local][node] + (node < local) + (node in with_cpus)
                cost = cost * 1024 + load[node]
                if node not in used and cost < best_cost:
                    best, best_cost = node, cost
            if distances[local][best] != distances[local][previous]:
                load[best] += 1
            used.append(best)
            previous = best
        orders.append(tuple(used))
    return tuple(orders)


@given(st.data(), st.integers(1, 7))
def test_sorting_once_finds_what_repeated_search_finds(data: st.DataObject, nr_nodes: int) -> None:
    far = st.sampled_from([11, 12, 15, 20, 21])
    distances = tuple(
        tuple(10 if a == b else data.draw(far) for b in range(nr_nodes)) for a in range(nr_nodes)
    )
    some_nodes = st.lists(st.integers(0, nr_nodes - 1), unique=True).map(sorted).map(tuple)
    with_memory, with_cpus = data.draw(some_nodes), data.draw(some_nodes)
    assert build_fallback_orders(distances, with_memory, with_cpus) == search_by_repetition(
        distances, with_memory, with_cpus
    )


def test_zones_go_downwards_in_each_node() -> None:
    allocator = two_nodes()
    names = [(zone.node, zone.name) for zone in allocator.zonelist(1)]
    assert names == [(1, "Normal"), (0, "DMA32"), (0, "DMA")]
    assert allocator.fallback_order(1) == (1, 0)


def test_a_request_is_served_near_until_the_node_is_empty() -> None:
    allocator = two_nodes()
    nodes = []
    for _ in range(3):
        pfn = allocator.alloc_pages(gfp=GFP_KERNEL, order=10, node=1)
        assert pfn is not None
        nodes.append(allocator.node_of_pfn(pfn))
    assert nodes == [1, 1, 0]
    assert (allocator.numa_hit, allocator.numa_miss) == ([0, 2], [1, 0])
    assert allocator.numa_foreign == [0, 1]


def test_thisnode_fails_rather_than_go_elsewhere() -> None:
    allocator = two_nodes()
    for _ in range(2):
        assert allocator.alloc_pages(gfp=GFP_KERNEL | GFP_THISNODE, order=10, node=1) is not None
    assert allocator.alloc_pages(gfp=GFP_KERNEL | GFP_THISNODE, order=0, node=1) is None
    assert allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=1) is not None


def test_zone_flags_exclude_higher_zones() -> None:
    allocator = two_nodes()
    dma32 = allocator.alloc_pages(gfp=GFP_KERNEL | GFP_DMA32, order=0, node=1)
    dma = allocator.alloc_pages(gfp=GFP_KERNEL | GFP_DMA, order=0, node=1)
    assert (dma32, dma) == (0x1000, 0)
    assert allocator.numa_hit == [2, 0]
    assert allocator.alloc_pages(gfp=GFP_DMA | GFP_THISNODE, order=0, node=1) is None


def test_a_node_without_memory_is_served_by_its_nearest() -> None:
    allocator = PageAllocator({1: ((GIB, 2 * GIB),)}, ((10, 20), (20, 10)), (0, 1))
    pfn = allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=0)
    assert pfn == GIB >> 12
    assert allocator.numa_hit == [0, 1]
    assert allocator.alloc_pages(gfp=GFP_KERNEL | GFP_THISNODE, order=0, node=0) is None


def test_interleaved_nodes_are_told_apart() -> None:
    allocator = PageAllocator(
        {0: ((GIB, 2 * GIB), (3 * GIB, 4 * GIB)), 1: ((2 * GIB, 3 * GIB),)},
        ((10, 20), (20, 10)),
        (0, 1),
    )
    assert [allocator.node_of_pfn(gib * GIB >> 12) for gib in (1, 2, 3)] == [0, 1, 0]
    for phys in (0, 4 * GIB):
        with pytest.raises(BadAccess, match=f"physical {phys:#x}"):
            allocator.node_of_pfn(phys >> 12)


def test_an_injected_failure_hits_only_injectable_requests() -> None:
    allocator = two_nodes()
    allocator.fail_after = 2

    def asks(injectable: bool) -> bool:
        pfn = allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=0, injectable=injectable)
        return pfn is not None

    assert [asks(True), asks(False), asks(True), asks(True), asks(True)] == [True] * 3 + [False] * 2
    assert asks(False)
    allocator.fail_after = -1
    assert asks(True)


def test_orders_nobody_has_get_nothing_or_a_bug() -> None:
    allocator = two_nodes()
    assert allocator.alloc_pages(gfp=GFP_KERNEL, order=11, node=0) is None
    with pytest.raises(KernelBug, match="order -1"):
        allocator.alloc_pages(gfp=GFP_KERNEL, order=-1, node=0)


def test_early_memory_comes_from_the_top_downwards() -> None:
    allocator = two_nodes()
    first = allocator.reserve(node=0, nr_bytes=5000, align_bytes=64)
    second = allocator.reserve(node=0, nr_bytes=2 * MIB, align_bytes=2 * MIB)
    third = allocator.reserve(node=0, nr_bytes=4096, align_bytes=4096)
    assert (first, second, third) == (64 * MIB - 8192, 60 * MIB, 64 * MIB - 12288)
    assert allocator.reserve(node=0, nr_bytes=4096, align_bytes=1, top_down=False) == 4096
    allocator.check_invariants()


def test_early_memory_may_cross_a_zone_limit_but_not_the_floor() -> None:
    allocator = two_nodes()
    assert allocator.reserve(node=0, nr_bytes=63 * MIB, align_bytes=MIB) == MIB
    assert allocator.reserve(node=0, nr_bytes=4096, align_bytes=4096, min_phys=MIB) is None
    assert allocator.reserve(node=0, nr_bytes=MIB, align_bytes=4096) is None
    assert allocator.reserve(node=0, nr_bytes=MIB - 4096, align_bytes=4096) == 4096
    allocator.check_invariants()


def test_percpu_units_land_where_a_real_kernel_put_them() -> None:
    allocator = PageAllocator(
        {0: ((0x1000, 0x9F000), (0x100000, 0x2000_0000))}, ((10,),), nodes_with_cpus=(0,)
    )
    allocator.reserve_at(0x1F60_0000, 0x2000_0000)
    unit = allocator.reserve(node=0, nr_bytes=2 * MIB, align_bytes=2 * MIB, min_phys=16 * MIB)
    assert unit == 0x1F40_0000
    allocator.release(unit + 62 * 4096, unit + MIB)
    allocator.check_invariants()
    assert allocator.nr_free_pages == (0x9E + (0x1F40_0000 - 0x10_0000) // 4096) + 256 - 62


def test_reserving_a_stated_place_takes_every_page_touched_or_nothing() -> None:
    allocator = two_nodes()
    allocator.reserve_at(15 * MIB + 100, 17 * MIB + 1)
    assert allocator.nr_free_pages == (72 - 2) * 256 - 1
    before = allocator.dump()
    with pytest.raises(KernelBug, match="page 0x1100 of node 0 is not free"):
        allocator.reserve_at(17 * MIB, 18 * MIB)
    with pytest.raises(BadAccess, match="not memory of any node"):
        allocator.reserve_at(63 * MIB, 65 * MIB)
    with pytest.raises(DoubleFree, match="not all reserved"):
        allocator.release(15 * MIB, 18 * MIB)
    assert allocator.dump() == before
    allocator.release(15 * MIB, 17 * MIB + 4096)
    assert allocator.nr_free_pages == 72 * 256


def test_machines_that_cannot_be_are_refused() -> None:
    memory = {0: ((0, MIB),)}
    with pytest.raises(ConfigError, match="distances of node 1: expected 2 numbers, got 1"):
        PageAllocator(memory, ((10, 20), (20,)), (0,))
    with pytest.raises(ConfigError, match="node 5 has no row"):
        PageAllocator({5: ((0, MIB),)}, ((10,),), (0,))
    with pytest.raises(ConfigError, match="no node has memory"):
        PageAllocator({0: ((1, 4095),)}, ((10,),), (0,))
    with pytest.raises(ConfigError, match="memory of node 1 at 0x80000 overlaps"):
        PageAllocator({0: ((0, MIB),), 1: ((MIB // 2, 2 * MIB),)}, ((10, 20), (20, 10)), (0,))
    with pytest.raises(ConfigError, match="aligned to 3 on node 0"):
        two_nodes().reserve(node=0, nr_bytes=1, align_bytes=3)


def test_a_terabyte_on_every_one_of_64_nodes_is_a_few_ranges() -> None:
    nr_nodes = 64
    allocator = PageAllocator(
        {node: ((node << 40, (node + 1) << 40),) for node in range(nr_nodes)},
        tuple(tuple(10 if a == b else 20 for b in range(nr_nodes)) for a in range(nr_nodes)),
        tuple(range(nr_nodes)),
    )
    assert len(allocator.zones) == nr_nodes + 2
    assert sum(len(zone.buddy.untouched) for zone in allocator.zones) == nr_nodes + 2
    assert allocator.nr_free_pages == nr_nodes << 28
    assert allocator.fallback_order(63)[:3] == (63, 0, 1)


def test_disagreeing_state_is_found() -> None:
    allocator = two_nodes()
    allocator.numa_miss[0] += 1
    with pytest.raises(InvariantBroken, match="numa_miss and numa_foreign"):
        allocator.check_invariants()
    allocator.zones = allocator.zones[1:]
    with pytest.raises(InvariantBroken, match="zones of node 0 do not make up its memory"):
        allocator.check_invariants()


class AllocatorAgainstOwners(RuleBasedStateMachine):
    """Every page has at most one owner, is on the node told, and all come back."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = two_nodes()
        self.owned: dict[int, int] = {}
        self.pages_taken: dict[int, None] = {}

    @rule(
        order=st.integers(0, 10),
        node=st.integers(0, 1),
        gfp=st.sampled_from([GFP_KERNEL, GFP_KERNEL | GFP_THISNODE, GFP_KERNEL | GFP_DMA]),
    )
    def alloc(self, order: int, node: int, gfp: int) -> None:
        pfn = self.allocator.alloc_pages(gfp=gfp, order=order, node=node)
        if pfn is None:
            return
        if gfp & GFP_THISNODE:
            assert self.allocator.node_of_pfn(pfn) == node
        if gfp & GFP_DMA:
            assert pfn + (1 << order) <= 0x1000
        for page in range(pfn, pfn + (1 << order)):
            assert page not in self.pages_taken
            self.pages_taken[page] = None
        self.owned[pfn] = order

    @precondition(lambda self: self.owned)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        pfn = data.draw(st.sampled_from(sorted(self.owned)))
        order = self.owned.pop(pfn)
        self.allocator.free_pages(pfn, order)
        for page in range(pfn, pfn + (1 << order)):
            del self.pages_taken[page]
        with pytest.raises(DoubleFree):
            self.allocator.free_pages(pfn, order)

    @rule()
    def save_and_load(self) -> None:
        state = self.allocator.dump()
        self.allocator = PageAllocator.load(state)
        assert self.allocator.dump() == state

    @invariant()
    def counts_agree(self) -> None:
        self.allocator.check_invariants()
        assert self.allocator.nr_free_pages == 72 * 256 - len(self.pages_taken)


TestAllocatorAgainstOwners = AllocatorAgainstOwners.TestCase
TestAllocatorAgainstOwners.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None
)
