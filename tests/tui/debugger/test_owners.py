from __future__ import annotations

import pytest

from tests.tui.debugger.conftest import unit_start
from tui.debugger.owners import whatis
from tui.debugger.session import Session


@pytest.mark.parametrize("cpu", [0, 1, 2, 3])
def test_every_copy_of_an_area_has_the_same_owner(busy: Session, cpu: int) -> None:
    owner = whatis(busy, unit_start(busy, 1, cpu) + 5000)
    assert (owner.kind, owner.chunk, owner.cpu, owner.offset) == ("area", 1, cpu, 5000)
    assert dict(owner.facts)["area_size"] == 32000
    assert dict(owner.facts)["physical_node"] == busy.machine.topology.node_of_cpu[cpu]


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


def test_a_percpu_pointer_shows_where_its_copies_are(busy: Session) -> None:
    facts = dict(whatis(busy, "percpu:0x37040").facts)
    for cpu in range(4):
        assert facts[f"copy of CPU {cpu}"] == f"{unit_start(busy, 0, cpu) + 0x40:#x}"
