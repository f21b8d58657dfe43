"""The page allocator of a machine: who is asked first, who gives, and what if none can."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel_sim.errors import BadAccess, ConfigError, DoubleFree, InvariantBroken, KernelBug
from kernel_sim.mm.fault_injection import FaultInjection, FaultSettings
from kernel_sim.mm.gfp import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_DMA32,
    GFP_HIGHMEM,
    GFP_KERNEL,
    GFP_THISNODE,
)
from kernel_sim.mm.page_alloc import PageAllocator, allocation_failure_text, build_fallback_orders
from kernel_sim.mm.page_lists import GFP_COLD
from kernel_sim.random_state import RandomState

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


def test_rules_of_fault_injection_hit_only_injectable_requests() -> None:
    allocator = two_nodes()
    rules = FaultSettings(nth=1, caller="pcpu_alloc_pages")
    allocator.set_fault(FaultInjection(rules, RandomState.from_seed(1)))

    def asks(caller: str, injectable: bool = True) -> bool:
        pfn = allocator.alloc_pages(
            gfp=GFP_KERNEL, order=0, node=0, injectable=injectable, caller=caller
        )
        return pfn is not None

    callers = ["pcpu_alloc_pages", "module_alloc", "pcpu_alloc_pages"]
    assert asks("pcpu_alloc_pages", injectable=False)
    assert [asks(caller) for caller in callers] == [True, True, False]
    loaded = PageAllocator.load(allocator.dump(), allocator.dump_lists())
    assert loaded.fault == allocator.fault
    allocator.set_fault(None)
    assert allocator.dump_lists() == {}


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


def with_lists(profile: str) -> PageAllocator:
    """Return 1 GiB below 4 GiB on node 0 and 1 GiB above on node 1; CPUs 0, 1 and 2, 3."""
    return PageAllocator(
        {0: ((0, GIB),), 1: ((4 * GIB, 5 * GIB),)},
        ((10, 20), (20, 10)),
        (0, 1),
        profile=profile,
        online_cpus_of_node={0: 2, 1: 2},
        node_of_cpu=(0, 0, 1, 1),
    )


def test_single_pages_come_from_the_running_cpus_list() -> None:
    allocator = with_lists("modern")
    pfns = [allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=0, cpu=cpu) for cpu in (2, 3, 2)]
    assert pfns == [0x1000, 0x1000 + 63, 0x1001]
    dma, dma32, normal = allocator.zones
    assert (dma.nr_list_pages, dma32.nr_list_pages, normal.nr_list_pages) == (0, 123, 0)
    assert allocator.nr_free_pages == 2 * (GIB >> 12) - 126
    assert allocator.nr_list_pages == 123
    assert [allocator.owner_state_of(pfn) for pfn in (0x1001, 0x1002, 0x1040, 0x107E)] == [
        "allocated order 0",
        "pcp cpu 2",
        "pcp cpu 3",
        "free",
    ]
    assert [allocator.drain_cpu(2), allocator.drain_all()] == [61, 62]
    allocator.check_invariants()


def test_cold_requests_leave_the_hot_list_alone() -> None:
    allocator = with_lists("2.6.20")
    assert allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=1) == 1 << 20
    cold = allocator.alloc_pages(gfp=GFP_KERNEL | GFP_COLD, order=0, node=1)
    assert cold == (1 << 20) + 31
    allocator.free_pages(1 << 20, 0, cold=True)
    assert allocator.alloc_pages(gfp=GFP_KERNEL | GFP_COLD, order=0, node=1) == 1 << 20
    sizes = allocator.list_sizes_of(allocator.zones_of(1)[0])
    assert [(size.high_pages, size.batch_pages) for size in sizes] == [(186, 31), (62, 15)]


def test_blocks_and_pages_on_lists_cannot_be_freed_twice() -> None:
    allocator = with_lists("modern")
    page = allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=0)
    block = allocator.alloc_pages(gfp=GFP_KERNEL, order=2, node=0)
    assert page is not None
    assert block is not None
    allocator.free_pages(page, 0, cpu=1)
    for order in (0, 2):
        with pytest.raises(DoubleFree, match="on a list of cpu 1"):
            allocator.free_pages(page, order)
    with pytest.raises(DoubleFree, match="but allocated with 2"):
        allocator.free_pages(block, 0)
    allocator.free_pages(block, 2)
    with pytest.raises(DoubleFree, match="no allocated block"):
        allocator.free_pages(block, 2)
    allocator.check_invariants()


def test_a_cpu_that_comes_or_goes_changes_the_size_of_its_nodes_lists() -> None:
    allocator = with_lists("modern")
    zone = allocator.zones_of(1)[0]
    (before,) = allocator.list_sizes_of(zone)
    allocator.set_online(1, 4)
    (after,) = allocator.list_sizes_of(zone)
    assert after.high_pages == before.high_pages // 2
    assert before.high_pages == allocator.marks_of(zone).low_pages // 2
    allocator.check_invariants()


def test_the_reserve_can_be_set_by_hand() -> None:
    allocator = with_lists("modern")
    assert allocator.effective_min_free_kbytes() == 3 * 512 * 11 * 4
    allocator.set_min_free_kbytes(8192)
    assert allocator.effective_min_free_kbytes() == 8192
    assert sum(allocator.marks_of(zone).min_pages for zone in allocator.zones) in (2047, 2048)
    assert two_nodes().effective_min_free_kbytes() == 0


def test_zones_count_local_and_remote_blocks() -> None:
    allocator = with_lists("2.6.20")
    for cpu, node in ((0, 0), (2, 0), (2, 1)):
        allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=node, cpu=cpu)
    allocator.alloc_pages(gfp=GFP_KERNEL | GFP_DMA, order=0, node=1, cpu=3)
    assert [zone.numa for zone in allocator.zones] == [
        [1, 0, 0, 0, 1],
        [2, 0, 0, 1, 1],
        [1, 0, 0, 1, 0],
    ]
    assert (allocator.numa_hit, allocator.numa_miss) == ([3, 1], [0, 0])
    allocator.zones[0].numa[0] += 1
    with pytest.raises(InvariantBroken, match="node 0 counts hit, miss, foreign"):
        allocator.check_invariants()


def test_profiles_and_architectures_nobody_knows_are_refused() -> None:
    memory = {0: ((0, MIB),)}
    with pytest.raises(
        ConfigError, match=r"profile '2\.4': expected one of plain, 2\.6\.20, modern"
    ):
        PageAllocator(memory, ((10,),), (0,), profile="2.4")
    with pytest.raises(ConfigError, match="arch 'm68k': expected one of"):
        PageAllocator(memory, ((10,),), (0,), arch="m68k")


def test_the_plain_dump_knows_nothing_of_lists_and_is_the_same_for_all_profiles() -> None:
    keys = [
        "memory", "distances", "nodes_with_cpus", "zones", "numa_hit", "numa_miss",
        "numa_foreign", "fail_after",
    ]  # fmt: skip
    assert list(two_nodes().dump()) == keys
    assert two_nodes().dump_lists() == {}
    allocator = with_lists("modern")
    assert list(allocator.dump()) == keys
    assert [list(zone) for zone in allocator.dump()["zones"]] == [["name", "node", "buddy"]] * 3


def test_the_version_grows_with_every_change_and_never_goes_back() -> None:
    allocator = with_lists("modern")
    seen = [allocator.version]

    def has_grown() -> bool:
        seen.append(allocator.version)
        return seen[-1] > seen[-2]

    pfn = allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=0)
    assert has_grown()
    state, lists = allocator.dump(), allocator.dump_lists()
    allocator.free_pages(pfn or 0, 0)
    assert has_grown()
    allocator.drain_all()
    assert has_grown()
    allocator.reserve_at(512 * MIB, 513 * MIB)
    assert has_grown()
    allocator.release(512 * MIB, 513 * MIB)
    assert has_grown()
    allocator.set_online(0, 1)
    assert has_grown()
    allocator.set_fault(None)
    assert has_grown()
    allocator.restore(state, lists)
    assert has_grown()
    assert (allocator.dump(), allocator.dump_lists()) == (state, lists)
    assert allocator.owner_state_of(pfn or 0) == "allocated order 0"
    allocator.check_invariants()


def test_lists_exist_only_where_a_cpu_asked() -> None:
    nr_nodes = 64
    allocator = PageAllocator(
        {node: ((node << 40, (node + 1) << 40),) for node in range(nr_nodes)},
        tuple(tuple(10 if a == b else 20 for b in range(nr_nodes)) for a in range(nr_nodes)),
        tuple(range(nr_nodes)),
        profile="modern",
        online_cpus_of_node=dict.fromkeys(range(nr_nodes), 64),
    )
    assert allocator.alloc_pages(gfp=GFP_KERNEL, order=0, node=5, cpu=4095) == 5 << 28
    lists = [zone.lists for zone in allocator.zones if zone.lists is not None]
    assert sum(len(one.by_cpu) for one in lists) == 1
    assert allocator.nr_list_pages == 62
    nr_listed = sum(
        len(blocks) for zone in allocator.zones for blocks in zone.buddy.free_lists
    ) + sum(len(zone.buddy.untouched) for zone in allocator.zones)
    assert nr_listed < 2 * len(allocator.zones)
    assert allocator.nr_free_pages == (nr_nodes << 28) - 63


def test_the_text_of_a_failure_is_found_here_too() -> None:
    assert "order:3" in allocation_failure_text("init", 3, GFP_KERNEL)


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


SMALL_MACHINES = {
    "x86-64": {0: ((0, 24 * MIB),), 1: ((4 * GIB, 4 * GIB + 8 * MIB),)},
    "i386": {0: ((MIB, 18 * MIB), (895 * MIB, 897 * MIB)), 1: ((900 * MIB, 904 * MIB),)},
}


class ProfilesAgainstOwners(RuleBasedStateMachine):
    """Every page is free, on one list, reserved or somebody's, whatever the profile."""

    @initialize(
        profile=st.sampled_from(["plain", "2.6.20", "modern"]),
        arch=st.sampled_from(sorted(SMALL_MACHINES)),
    )
    def boot(self, profile: str, arch: str) -> None:
        self.allocator = PageAllocator(
            SMALL_MACHINES[arch],
            ((10, 20), (20, 10)),
            (0, 1),
            profile=profile,
            arch=arch,
            online_cpus_of_node={0: 1, 1: 2},
            node_of_cpu=(0, 1, 1),
        )
        self.allocator.reserve_at(2 * MIB, 2 * MIB + 5000)
        self.owned: dict[int, int] = {}

    @rule(
        order=st.integers(0, 10) | st.just(0),
        node=st.integers(0, 1),
        cpu=st.integers(0, 2),
        gfp=st.sampled_from(
            [
                GFP_KERNEL,
                GFP_ATOMIC,
                GFP_KERNEL | GFP_THISNODE,
                GFP_KERNEL | GFP_DMA,
                GFP_KERNEL | GFP_HIGHMEM | GFP_COLD,
            ]
        ),
        count=st.integers(1, 40),
    )
    def alloc(self, order: int, node: int, cpu: int, gfp: int, count: int) -> None:
        allocator = self.allocator
        for _ in range(count):
            pfn = allocator.alloc_pages(gfp=gfp, order=order, node=node, cpu=cpu)
            if pfn is None:
                self.refusal_is_just(gfp, order, node)
                return
            zone = allocator.zone_of_pfn(pfn)
            assert not gfp & GFP_THISNODE or zone.node == node
            assert not gfp & GFP_DMA or zone.name == "DMA"
            assert gfp & GFP_HIGHMEM or zone.name != "HighMem"
            assert allocator.owner_state_of(pfn) == f"allocated order {order}"
            for held_pfn, held_order in self.owned.items():
                assert pfn + (1 << order) <= held_pfn or held_pfn + (1 << held_order) <= pfn
            self.owned[pfn] = order

    def refusal_is_just(self, gfp: int, order: int, node: int) -> None:
        highest = 0 if gfp & GFP_DMA else 2
        if order == 0 and not gfp & (GFP_HIGHMEM | GFP_THISNODE):
            for zone in self.allocator.zonelist(node):
                if zone.index <= highest and zone.name != "HighMem":
                    marks = self.allocator.marks_of(zone)
                    limit = marks.min_pages + max(marks.protection)
                    assert zone.buddy.nr_free_pages <= limit

    @precondition(lambda self: self.owned)
    @rule(data=st.data(), cpu=st.integers(0, 2), cold=st.booleans(), count=st.integers(1, 30))
    def free(self, data: st.DataObject, cpu: int, cold: bool, count: int) -> None:
        first = data.draw(st.integers(0, len(self.owned) - 1))
        for pfn in list(self.owned)[first : first + count]:
            order = self.owned.pop(pfn)
            self.allocator.free_pages(pfn, order, cpu, cold)
            with pytest.raises(DoubleFree):
                self.allocator.free_pages(pfn, order, cpu)

    @rule(cpu=st.integers(0, 2))
    def take_cpu_down(self, cpu: int) -> None:
        nr_list_pages = self.allocator.nr_list_pages
        nr_drained = self.allocator.drain_cpu(cpu)
        assert self.allocator.nr_list_pages == nr_list_pages - nr_drained

    @rule()
    def save_and_load(self) -> None:
        state, lists = self.allocator.dump(), self.allocator.dump_lists()
        loaded = PageAllocator.load(state, lists)
        assert (loaded.dump(), loaded.dump_lists()) == (state, lists)
        self.allocator.restore(state, lists)
        assert (self.allocator.dump(), self.allocator.dump_lists()) == (state, lists)

    @invariant()
    def every_page_has_one_place(self) -> None:
        self.allocator.check_invariants()
        held: dict[tuple[int, str], int] = {}
        blocks: dict[int, int] = {}
        for zone in self.allocator.zones:
            blocks |= dict(zone.allocated_blocks())
        assert blocks == self.owned
        for pfn, order in self.owned.items():
            zone = self.allocator.zone_of_pfn(pfn)
            held[zone.node, zone.name] = held.get((zone.node, zone.name), 0) + (1 << order)
        for zone in self.allocator.zones:
            idle = zone.buddy.nr_free_pages + zone.nr_list_pages
            assert idle + held.get((zone.node, zone.name), 0) == zone.nr_managed_pages


TestProfilesAgainstOwners = ProfilesAgainstOwners.TestCase
TestProfilesAgainstOwners.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None
)
