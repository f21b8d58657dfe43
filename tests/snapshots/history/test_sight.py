from __future__ import annotations

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from snapshots.history.sight import (
    ALL_CPUS,
    Sight,
    area_at,
    bytes_at,
    call_of,
    frames_bytes,
    leaf_at,
    percpu_value,
    zone_named,
    zone_numbered,
)
from snapshots.timeline import Timeline
from tests.snapshots.conftest import GFP_KERNEL, recorded, small_config


def allocated() -> tuple[Timeline, int]:
    """A run of one allocation of 24 bytes, and its pointer."""
    timeline = recorded(
        small_config(cpus=2, nodes=2), [("alloc", 0, 24, 8, GFP_KERNEL), ("drain",)]
    )
    call = timeline.calls[0]
    return timeline, int(str(call.result))


def test_an_area_is_found_where_it_starts_and_nowhere_else() -> None:
    timeline, ptr = allocated()
    sight = Sight(timeline.machine, happened={ptr: 3})
    assert area_at(sight, ptr) == (24, 0, 3)
    assert area_at(sight, ptr + 4).size_bytes == area_at(sight, ptr + 1).size_bytes == 0
    assert area_at(sight, 0xDEAD_0000_0000) == (0, None, 0)


def test_memory_is_read_through_the_tables_and_missing_where_they_end() -> None:
    timeline, ptr = allocated()
    machine = timeline.machine
    virt = ptr + machine.per_cpu_offset(1)
    timeline.give("this_cpu_write", 1, (ptr, 0xAB, 1))
    timeline.give("this_cpu_write", 1, (ptr + 1, 0xCD, 1))
    timeline.advance(1 << 62)
    sight = Sight(machine)
    phys = machine.space.translate(virt)
    assert phys is not None
    assert bytes_at(sight, virt, 2) == frames_bytes(sight, phys, 2) == 0xCDAB
    assert bytes_at(sight, virt, 10) == "abcd" + "00" * 8
    assert percpu_value(sight, ptr, 1, 2) == 0xCDAB
    assert percpu_value(sight, ptr, ALL_CPUS, 1) == (0, 0xAB)
    assert percpu_value(sight, ptr, 7) is None
    for addr in (0xFFFF_E000_0000_0000, 1 << 63, -1, (1 << 64) - 2):
        assert bytes_at(sight, addr, 4) is None
    assert frames_bytes(sight, -1, 4) is None and frames_bytes(sight, 1 << 52, 1) is None


def test_a_range_that_leaves_the_mapped_pages_is_missing_as_a_whole() -> None:
    timeline, _ = allocated()
    machine, sight = timeline.machine, Sight(timeline.machine)
    end = machine.arch.direct_map_addr + (256 << 20)
    assert bytes_at(sight, end - 4, 4) == 0
    assert bytes_at(sight, end - 4, 8) is None


def test_the_entry_of_an_address_says_which_page_it_maps() -> None:
    timeline, _ = allocated()
    machine = timeline.machine
    virt = machine.arch.direct_map_addr + (8 << 20)
    leaf, walk = leaf_at(Sight(machine), virt + 5), machine.space.walk(virt + 5)
    assert leaf.entry == walk.levels[-1].entry
    assert leaf.size_bytes == walk.page_size_bytes and walk.phys is not None
    assert leaf.pfn == (walk.phys & -walk.page_size_bytes) // PAGE_SIZE_BYTES  # type: ignore[operator]
    assert leaf_at(Sight(machine), 0x1000).entry == leaf_at(Sight(machine), -5).entry == 0


def test_zones_are_found_by_number_by_node_and_by_a_name_that_is_one_zones_own() -> None:
    timeline, _ = allocated()
    sight, zones = Sight(timeline.machine), timeline.machine.pages.zones
    assert [zone_numbered(sight, number) for number in range(len(zones) + 1)] == [*zones, None]
    for zone in zones:
        alike = [each for each in zones if each.name == zone.name]
        assert zone_numbered(sight, zone.name) is (zone if len(alike) == 1 else None)
        assert zone_named(sight, zone.node, zone.name) is zone
    assert zone_named(sight, 1, 0) is next(zone for zone in zones if zone.node == 1)
    assert zone_named(sight, 9, 0) is None and zone_numbered(sight, -1) is None


def test_a_call_tells_its_name_place_and_lock() -> None:
    timeline, _ = allocated()
    cpu = timeline.machine.cpus[0]
    assert {call_of(cpu, what) for what in ("name", "context", "function", "wish")} == {None}
    timeline.give("pcpu_alloc", 0, (8, 4, False, GFP_KERNEL, "here"))
    timeline.advance(timeline.step + 1)
    assert (call_of(cpu, "name"), call_of(cpu, "context")) == ("pcpu_alloc", "task")
    assert call_of(cpu, "wish") == "pcpu_alloc_mutex"
    assert call_of(cpu, "function") == "pcpu_alloc"
