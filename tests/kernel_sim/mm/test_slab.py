"""The slab allocator beside a dict of live objects."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel_sim.errors import BadAccess, DoubleFree, InvariantBroken
from kernel_sim.mm.gfp import GFP_KERNEL, GFP_THISNODE
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.slab import SlabAllocator, SlabOwner

MIB = 1 << 20
GIB = 1 << 30


def two_nodes(profile: str = "plain", bytes_each: int = 4 * MIB) -> PageAllocator:
    return PageAllocator(
        {0: ((4 * GIB, 4 * GIB + bytes_each),), 1: ((5 * GIB, 5 * GIB + bytes_each),)},
        ((10, 20), (20, 10)),
        (0, 1),
        profile=profile,
    )


def kmalloc(slab: SlabAllocator, size_bytes: int, node: int = 0, gfp: int = GFP_KERNEL) -> int:
    phys = slab.kmalloc_node(size_bytes, gfp, node)
    assert phys is not None
    return phys


def test_nothing_is_taken_before_it_is_needed() -> None:
    pages = two_nodes()
    slab = SlabAllocator(pages)
    assert pages.nr_free_pages == 2048
    assert list(slab.owned_pages()) == []
    assert kmalloc(slab, 100) == 4 * GIB
    assert list(slab.owned_pages()) == [(4 * GIB >> 12, 0)]


def test_new_objects_ascend_and_freed_ones_come_back_last_freed_first() -> None:
    slab = SlabAllocator(two_nodes())
    objects = [kmalloc(slab, 128) for _ in range(4)]
    assert objects == [4 * GIB + 128 * number for number in range(4)]
    slab.kfree(objects[0])
    slab.kfree(objects[2])
    again = [kmalloc(slab, 128) for _ in range(3)]
    assert again == [objects[2], objects[0], 4 * GIB + 512]


def test_old_slabs_begin_with_their_management() -> None:
    slab = SlabAllocator(two_nodes(), "2.6.20", cache_line_bytes=32, arch="i386")
    assert kmalloc(slab, 1) == 4 * GIB + 480
    assert slab.ksize(4 * GIB + 480) == 32
    assert slab.owner_of(4 * GIB) == SlabOwner("size-32", 4 * GIB >> 12, -1, False)


def test_each_node_has_its_own_slabs() -> None:
    slab = SlabAllocator(two_nodes())
    assert [kmalloc(slab, 64, node) >> 30 for node in (0, 1, 0, 1)] == [4, 5, 4, 5]
    assert len(slab.slabs) == 2


def test_a_full_node_is_helped_out_by_free_objects_elsewhere_then_by_new_slabs() -> None:
    pages = two_nodes()
    slab = SlabAllocator(pages)
    kmalloc(slab, 2048, node=1)
    while pages.alloc_pages(gfp=GFP_KERNEL | GFP_THISNODE, order=0, node=0) is not None:
        pass
    assert slab.kmalloc_node(2048, GFP_KERNEL | GFP_THISNODE, 0) is None
    remote = [kmalloc(slab, 2048, node=0) for _ in range(8)]
    assert all(phys >> 30 == 5 for phys in remote)
    assert len(slab.slabs) == 2
    slab.check_invariants()


def test_a_slab_may_be_smaller_when_memory_is_in_pieces() -> None:
    pages = two_nodes(bytes_each=16384)
    slab = SlabAllocator(pages, nr_cpus=4)
    phys = kmalloc(slab, 2048)
    assert [order for _, order in slab.owned_pages()] == [0]
    assert slab.ksize(phys) == 2048
    slab.check_invariants()


def test_no_memory_is_a_result() -> None:
    pages = two_nodes()
    slab = SlabAllocator(pages)
    pages.fail_after = 0
    assert slab.kmalloc_node(64, GFP_KERNEL, 0, injectable=True) is None
    assert slab.kmalloc_node(64, GFP_KERNEL, 0) is not None
    assert slab.kmalloc_node(100000, GFP_KERNEL, 0, injectable=True) is None
    slab.check_invariants()


def test_large_requests_take_whole_pages_but_not_in_2_6_20() -> None:
    pages = two_nodes()
    slab = SlabAllocator(pages)
    phys = kmalloc(slab, 8193)
    assert slab.ksize(phys) == 16384
    assert slab.owner_of(phys + 16383) == SlabOwner("kmalloc-large", phys >> 12, 0, True)
    assert list(slab.owned_pages()) == [(phys >> 12, 2)]
    slab.check_invariants()
    slab.kfree(phys)
    assert pages.nr_free_pages == 2048
    with pytest.raises(BadAccess, match="no slab and no large block"):
        slab.kfree(phys)
    assert slab.kmalloc_node(5 << 20, GFP_KERNEL, 0) is None
    assert SlabAllocator(pages, "2.6.20").kmalloc_node(131073, GFP_KERNEL, 0) is None


def test_empty_slabs_go_back_beyond_a_few() -> None:
    pages = two_nodes()
    slab = SlabAllocator(pages)
    objects = [kmalloc(slab, 4096) for _ in range(80)]
    nr_slabs = len(slab.slabs)
    for phys in objects:
        slab.kfree(phys)
        slab.check_invariants()
    (cache,) = (cache for cache in slab.classes if cache.size_bytes == 4096)
    assert len(slab.slabs) == cache.min_partial < nr_slabs
    assert pages.nr_free_pages == 2048 - (cache.min_partial << cache.order)


def test_nonsense_given_back_is_named() -> None:
    slab = SlabAllocator(two_nodes())
    phys = kmalloc(slab, 192)
    other = kmalloc(slab, 192)
    with pytest.raises(BadAccess, match="no object of kmalloc-192 starts there"):
        slab.kfree(phys + 8)
    with pytest.raises(BadAccess, match="no object of kmalloc-192 starts there"):
        slab.kfree(phys + 21 * 192)
    with pytest.raises(DoubleFree, match="object 2 of kmalloc-192, slab 0x100000, is free"):
        slab.kfree(phys + 2 * 192)
    with pytest.raises(BadAccess, match="no slab and no large block"):
        slab.ksize(0x1234)
    slab.kfree(other)
    with pytest.raises(DoubleFree, match="object 1"):
        slab.kfree(other)


def test_addresses_know_their_object() -> None:
    slab = SlabAllocator(two_nodes())
    phys = kmalloc(slab, 96)
    pfn = phys >> 12
    assert slab.owner_of(phys + 95) == SlabOwner("kmalloc-96", pfn, 0, True)
    assert slab.owner_of(phys + 96) == SlabOwner("kmalloc-96", pfn, 1, False)
    assert slab.owner_of(phys + 4095) == SlabOwner("kmalloc-96", pfn, -1, False)
    assert slab.owner_of(phys + 4096) is None


def test_the_rows_are_those_of_slabinfo() -> None:
    slab = SlabAllocator(two_nodes(), nr_cpus=4)
    objects = [kmalloc(slab, 500) for _ in range(17)]
    slab.kfree(objects[16])
    rows = {row[0]: row[1:] for row in slab.rows()}
    assert rows["kmalloc-512"] == (16, 32, 512, 16, 2, 1, 2)
    assert rows["kmalloc-8"] == (0, 0, 8, 512, 1, 0, 0)


def test_the_version_grows_and_a_state_comes_back_in_place() -> None:
    pages = two_nodes()
    slab = SlabAllocator(pages)
    first = kmalloc(slab, 64)
    versions = [0, slab.version]
    state, pages_state = slab.dump(), pages.dump()
    kmalloc(slab, 64)
    versions.append(slab.version)
    slab.kfree(first)
    versions.append(slab.version)
    slab.restore(state)
    pages.restore(pages_state)
    versions.append(slab.version)
    assert versions == sorted(dict.fromkeys(versions))
    assert slab.dump() == state
    slab.check_invariants()


def break_list(slab: SlabAllocator) -> None:
    slab.partial.clear()


def break_node(slab: SlabAllocator) -> None:
    pfn = next(iter(slab.slabs))
    slab.slabs[pfn].node = 1
    slab.partial = {(slab.slabs[pfn].class_index, 1): slab.partial.popitem()[1]}


def break_pages(slab: SlabAllocator) -> None:
    slab.pages.free_pages(next(iter(slab.slabs)), 0)


def break_objects(slab: SlabAllocator) -> None:
    next(iter(slab.slabs.values())).freed[99] = None


def break_existence(slab: SlabAllocator) -> None:
    slab.slabs.clear()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (break_list, "not on the list that its free objects ask for"),
        (break_node, "is not on node 1"),
        (break_pages, "is not ours to cut"),
        (break_objects, "beyond those used"),
        (break_existence, "is on a list and does not exist"),
    ],
)
def test_damage_is_named_by_the_check(damage, complaint: str) -> None:  # type: ignore[no-untyped-def]
    slab = SlabAllocator(two_nodes())
    kmalloc(slab, 64)
    slab.check_invariants()
    damage(slab)
    with pytest.raises(InvariantBroken, match=complaint):
        slab.check_invariants()


class SlabAgainstLiveObjects(RuleBasedStateMachine):
    @initialize(
        profile=st.sampled_from(["2.6.20", "modern"]),
        pages_profile=st.sampled_from(["plain", "2.6.20", "modern"]),
        nr_cpus=st.sampled_from([1, 8]),
    )
    def boot(self, profile: str, pages_profile: str, nr_cpus: int) -> None:
        self.pages = two_nodes(pages_profile, 2 * MIB)
        self.slab = SlabAllocator(self.pages, profile, nr_cpus=nr_cpus)
        self.live: dict[int, int] = {}

    @rule(
        size_bytes=st.sampled_from([0, 1, 8, 33, 96, 100, 192, 500, 1024, 4096, 8192, 20000]),
        node=st.integers(0, 1),
        this_node=st.booleans(),
        count=st.integers(1, 30),
    )
    def kmalloc(self, size_bytes: int, node: int, this_node: bool, count: int) -> None:
        gfp = GFP_KERNEL | (GFP_THISNODE if this_node else 0)
        for _ in range(count):
            phys = self.slab.kmalloc_node(size_bytes, gfp, node, cpu=node)
            if phys is None:
                return
            usable_bytes = self.slab.ksize(phys)
            assert usable_bytes >= size_bytes
            if this_node:
                assert self.pages.node_of_pfn(phys >> 12) == node
            for start, nr_bytes in self.live.items():
                assert phys + usable_bytes <= start or start + nr_bytes <= phys
            owner = self.slab.owner_of(phys + usable_bytes - 1)
            assert owner is not None
            assert owner.is_allocated
            self.live[phys] = usable_bytes

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 30))
    def kfree(self, data: st.DataObject, count: int) -> None:
        first = data.draw(st.integers(0, len(self.live) - 1))
        for phys in list(self.live)[first : first + count]:
            del self.live[phys]
            self.slab.kfree(phys, cpu=1)
            with pytest.raises((DoubleFree, BadAccess)):
                self.slab.kfree(phys)

    @rule()
    def save_and_load(self) -> None:
        state = self.slab.dump()
        self.slab = SlabAllocator.load(state, self.pages)
        assert self.slab.dump() == state

    @invariant()
    def agrees(self) -> None:
        self.slab.check_invariants()
        self.pages.check_invariants()
        nr_taken = sum(row[1] for row in self.slab.rows())
        assert nr_taken + len(self.slab.large) == len(self.live)
        owned = dict(self.slab.owned_pages())
        held = [block for zone in self.pages.zones for block in zone.allocated_blocks()]
        assert owned == dict(held)


TestSlabAgainstLiveObjects = SlabAgainstLiveObjects.TestCase
TestSlabAgainstLiveObjects.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None
)
