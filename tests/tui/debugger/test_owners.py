from __future__ import annotations

import pytest

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tui.debugger.areas import area_around
from tui.debugger.owners import whatis
from tui.debugger.session import Session


def _unit(session: Session, chunk: int, cpu: int) -> int:
    machine = session.machine
    return machine.percpu.chunks[chunk].base_addr + machine.places.unit_offsets[cpu]


@pytest.mark.parametrize("cpu", [0, 1, 2, 3])
def test_every_copy_of_an_area_has_the_same_owner(busy: Session, cpu: int) -> None:
    owner = whatis(busy, _unit(busy, 1, cpu) + 5000)
    assert (owner.kind, owner.chunk, owner.cpu, owner.offset) == ("area", 1, cpu, 5000)
    assert dict(owner.facts)["area_size"] == 32000
    assert dict(owner.facts)["physical_node"] == busy.machine.topology.node_of_cpu[cpu]


@pytest.mark.parametrize("cpu", [0, 1, 2, 3])
@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("page", [0, 3, 6])
def test_a_physical_page_leads_back_to_its_place_in_the_unit(
    busy: Session, chunk: int, cpu: int, page: int
) -> None:
    offset = page * PAGE_SIZE_BYTES + 12
    phys = busy.machine.space.translate(_unit(busy, chunk, cpu) + offset)
    owner = whatis(busy, f"phys:{phys:#x}")
    assert (owner.chunk, owner.cpu, owner.offset) == (chunk, cpu, offset)


def test_every_page_table_page_is_named_as_one(busy: Session) -> None:
    for pfn in busy.machine.space.table_pfns:
        assert whatis(busy, f"phys:{pfn * PAGE_SIZE_BYTES:#x}").kind == "page table"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0xffffffff83400010", "kernel image"),
        ("phys:0x1000000", "kernel image"),
        ("phys:0x10000000", "free"),
        ("phys:0xffffffff0000", "nothing"),
        ("0xffff888010000000", "free"),
        ("0xffffc90000000000", "hole"),
        ("0x8000000000000000", "non-canonical"),
        ("0x1000", "user"),
        ("0xfffffffffffff000", "nothing"),
        ("percpu:0x100", "static"),
        ("percpu:0x35000", "free"),
        ("percpu:0x123456789000", "nothing"),
    ],
)
def test_every_kind_of_place_has_a_name(busy: Session, address: str, kind: str) -> None:
    assert whatis(busy, address).kind == kind


def test_an_entry_of_per_cpu_offset_is_told_by_its_cpu(session: Session) -> None:
    assert "__per_cpu_offset[2]" in whatis(session, "__per_cpu_offset+16").summary


def test_a_page_without_backing_is_told_as_such(busy: Session) -> None:
    owner = whatis(busy, _unit(busy, 1, 0) + 200 * PAGE_SIZE_BYTES)
    assert owner.kind == "unpopulated"
    assert str(dict(owner.facts)["physical"]).startswith("none")


def test_a_percpu_pointer_shows_where_its_copies_are(busy: Session) -> None:
    facts = dict(whatis(busy, "percpu:0x37040").facts)
    for cpu in range(4):
        assert facts[f"copy of CPU {cpu}"] == f"{_unit(busy, 0, cpu) + 0x40:#x}"


def test_the_tail_of_the_first_unit_was_given_back(session: Session) -> None:
    tail = session.machine.alloc_info.size_sum_bytes
    assert whatis(session, f"percpu:{tail:#x}").kind == "nothing"
    assert whatis(session, session.machine.percpu.base_addr + tail).kind == "free"


def test_area_around_agrees_with_the_list_of_areas_at_every_offset(busy: Session) -> None:
    chunk = busy.machine.percpu.chunks[0]
    live = {}
    for bit, nr_bits in chunk.areas():
        live |= dict.fromkeys(range(bit * 4, (bit + nr_bits) * 4), (bit * 4, nr_bits * 4))
    assert live
    for offset in range(0, chunk.nr_pages * PAGE_SIZE_BYTES, 4):
        area = area_around(chunk, offset)
        assert area.offset <= offset < area.offset + area.size
        assert area.is_live == (offset in live)
        if area.is_live:
            assert (area.offset, area.size) == live[offset]
        else:
            assert not any(at in live for at in range(area.offset, area.offset + area.size, 4))
