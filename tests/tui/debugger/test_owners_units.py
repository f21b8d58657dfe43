from __future__ import annotations

from kernel_sim.mm.page import PAGE_SIZE_BYTES
from tests.tui.debugger.conftest import OBJECTS, unit_start
from tui.debugger.owners import whatis
from tui.debugger.owners_units import owner_in_unit, unit_owner
from tui.debugger.session import Session


def test_a_page_without_backing_is_told_as_such(busy: Session) -> None:
    owner = whatis(busy, unit_start(busy, 1, 0) + 200 * PAGE_SIZE_BYTES)
    assert owner.kind == "unpopulated"
    assert str(dict(owner.facts)["physical"]).startswith("none")


def test_the_tail_of_the_first_unit_was_given_back(session: Session) -> None:
    tail = session.machine.alloc_info.size_sum_bytes
    assert whatis(session, f"percpu:{tail:#x}").kind == "nothing"
    assert whatis(session, session.machine.percpu.base_addr + tail).kind == "free"


def test_every_byte_of_every_unit_has_an_owner_with_the_right_cpu(busy: Session) -> None:
    machine = busy.machine
    for cpu in machine.cpus:
        for offset in range(0, machine.alloc_info.size_sum_bytes, 509):
            start = machine.percpu.base_addr + machine.places.unit_offsets[cpu]
            owner = unit_owner(busy, start + offset)
            assert owner is not None and owner.cpu == cpu


def test_the_first_unit_is_static_data_then_reserved_then_dynamic(session: Session) -> None:
    base, info = session.machine.percpu.base_addr, session.machine.alloc_info
    places = (0, info.static_size_bytes, info.static_size_bytes + info.reserved_size_bytes)
    owners = [owner_in_unit(session, base, 2, offset) for offset in places]
    assert [owner and (owner.kind, owner.chunk) for owner in owners] == [
        ("static", None), ("free", -1), ("free", 0),
    ]  # fmt: skip
    assert owner_in_unit(session, base, 2, info.size_sum_bytes) is None


def test_a_byte_inside_an_area_is_told_with_the_area_around_it(busy: Session) -> None:
    owner = unit_owner(busy, unit_start(busy, 1, 3) + 5000)
    assert owner is not None and owner.kind == "area"
    assert owner.summary == (
        "an area of 32000 bytes, byte 5000, [0+32000] of chunk 1, unit of CPU 3, page 1: kmemscope"
    )


def test_a_module_and_its_variable_are_named_with_an_area(session: Session, tell) -> None:
    tell(f"insmod {OBJECTS / 'plain-x86-64.o'} 'init: a = pcpu_alloc 64 8'")
    ptr = session.machine.modules.modules[0].variables["a"]
    for cpu in session.machine.cpus:
        owner = whatis(session, f"percpu:{ptr:#x}@{cpu}")
        assert owner.cpu == cpu and owner.summary.endswith("*a of module plain_x86_64")
        assert dict(owner.facts)["module"] == "plain_x86_64"


def test_a_static_variable_of_a_real_kernel_is_named_in_every_unit(demo: Session) -> None:
    for cpu in demo.machine.cpus:
        owner = whatis(demo, f"runqueues+16@{cpu}")
        assert (owner.kind, owner.cpu) == ("static", cpu)
        assert dict(owner.facts)["symbol"] == "runqueues+0x10"
