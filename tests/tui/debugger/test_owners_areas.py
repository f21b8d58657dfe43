from __future__ import annotations

from tests.tui.debugger.conftest import OBJECTS
from tui.debugger.owners import whatis
from tui.debugger.owners_areas import area_space_owner, module_owner
from tui.debugger.session import Session


def test_a_page_of_an_area_is_told_by_number_and_so_is_the_guard_page(
    session: Session, tell
) -> None:
    tell("vmalloc 9000")
    start = session.machine.vmalloc.areas[0].start
    second = area_space_owner(session.machine, start + 4096)
    guard = area_space_owner(session.machine, start + 3 * 4096)
    assert second and (second.kind, second.summary) == (
        "vmalloc", "in a vmalloc area of vmalloc, page 1 of 3",
    )  # fmt: skip
    assert guard and guard.kind == "guard"
    assert whatis(session, start + 4 * 4096).kind == "hole"


def test_a_physical_page_of_an_area_leads_back_to_it(session: Session, tell) -> None:
    tell("vmalloc 9000")
    start = session.machine.vmalloc.areas[0].start
    phys = session.machine.space.translate(start + 2 * 4096 + 5)
    owner = whatis(session, f"phys:{phys:#x}")
    assert owner.kind == "vmalloc" and "page 2 of 3" in owner.summary
    assert dict(owner.facts)["mapped_at"] == f"{start + 2 * 4096 + 5:#x}"


def test_an_address_in_a_module_is_told_by_section_and_symbol(session: Session, tell) -> None:
    tell(f"insmod {OBJECTS / 'plain-x86-64.o'}")
    module = session.machine.modules.modules[0]
    owner = module_owner(session.machine, module.core_addr + 2)
    assert owner is not None and owner.summary == "in module plain_x86_64: plain_get+0x2"
    assert dict(owner.facts)["section"] == ".text+0x2"
    phys = session.machine.space.translate(module.core_addr)
    assert whatis(session, f"phys:{phys:#x}").kind == "module"
    padding = whatis(session, module.core_addr + module.core_size_bytes - 1)
    assert padding.kind == "module" and "padding" in padding.summary
    start = module.core_addr
    tell("rmmod plain_x86_64")
    assert whatis(session, start).kind in ("hole", "vmalloc")


def test_a_fixmap_page_is_told_by_its_index_and_who_reserved_it(session: Session) -> None:
    fixmap = session.machine.fixmap
    index = fixmap.reserve_indices(2, "pcpu tables")
    owner = area_space_owner(session.machine, fixmap.virt_of(index) + 8)
    assert owner is not None and owner.summary == f"fixmap page {index}, of pcpu tables"
    other = area_space_owner(session.machine, fixmap.virt_of(index + 2))
    assert other is not None and "nobody" in other.summary
