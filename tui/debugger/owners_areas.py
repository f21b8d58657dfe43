"""Who owns an address in vmalloc space, module space or the fixmap.

vmalloc space   | area: page 0, page 1, … guard | hole | area lazily freed |
module space    | core of a module: .text .data … guard | its init part |
fixmap          one page an index, counted down from the top
"""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.vmalloc import VmallocSpace, VmArea
from tui.debugger.owner import Owner
from tui.debugger.symbols import module_at
from tui.debugger.table import Cell

WITHOUT_GUARD = ("pcpu_get_vm_areas", "pcpu_page_first_chunk")  # callers


def area_space_owner(machine: Machine, virt: int) -> Owner | None:
    """Return the owner of an address in the space of areas, modules or fixed addresses."""
    owner = module_owner(machine, virt) or _fixmap_owner(machine, virt)
    if owner is not None:
        return owner
    for name, space in (("vmalloc", machine.vmalloc), ("module", machine.module_space)):
        if space.start <= virt <= space.end:
            return _space_owner(machine, name, space, virt)
    return None


def module_owner(machine: Machine, virt: int) -> Owner | None:
    """Return the owner of an address in a loaded module, None for any other."""
    module = module_at(machine, virt)
    if module is None:
        return None
    in_init = module.init_addr <= virt < module.init_addr + module.init_size_bytes
    part, base = ("init", module.init_addr) if in_init else ("core", module.core_addr)
    facts: list[tuple[str, Cell]] = [
        ("module", module.name),
        ("state", module.state),
        (f"{part}_start", f"{base:#x}"),
        ("offset", virt - base),
    ]
    section = next(
        (at for at in module.sections if at.addr <= virt < at.addr + at.size_bytes), None
    )
    if section is not None:
        facts.append(("section", f"{section.name}+{virt - section.addr:#x}"))
    name = module.find_owner_name(virt)
    if name is not None:
        facts.append(("symbol", name))
    what = name or f"padding in its {part} part"
    return Owner(virt, "module", f"in module {module.name}: {what}", facts)


def _fixmap_owner(machine: Machine, virt: int) -> Owner | None:
    fixmap = machine.fixmap
    if not fixmap.start <= virt <= fixmap.end:
        return None
    index = fixmap.index_of(virt)
    reserved = fixmap.find_range(index)
    facts: list[tuple[str, Cell]] = [("fixmap_index", index)]
    if reserved is None:
        return Owner(virt, "fixmap", f"fixmap page {index}, which nobody reserved", facts)
    facts.append(("reserved_by", reserved.name))
    return Owner(virt, "fixmap", f"fixmap page {index}, of {reserved.name}", facts)


def _space_owner(machine: Machine, name: str, space: VmallocSpace, virt: int) -> Owner:
    area = space.find_area(virt)
    if area is None:
        return Owner(virt, "hole", f"a hole in {name} space: no area lies there")
    facts: list[tuple[str, Cell]] = [
        ("area_start", f"{area.start:#x}"),
        ("area_size", area.size_bytes),
        ("caller", area.caller),
    ]
    if area.nr_pages:
        facts.append(("area_pages", area.nr_pages))
    state = "lazily freed " if area.start in space.lazy else ""
    what = f"a {state}{name} area of {area.caller}"
    if machine.space.translate(virt) is None and not state:
        kind, text = _unmapped(area, virt)
        return Owner(virt, kind, f"in {what}, {text}", facts)
    page = (virt - area.start) >> PAGE_SHIFT
    where = f", page {page} of {area.nr_pages}" if area.nr_pages else ""
    return Owner(virt, "vmalloc", f"in {what}{where}", facts)


def _unmapped(area: VmArea, virt: int) -> tuple[str, str]:
    if virt >= area.end - PAGE_SIZE_BYTES and area.caller not in WITHOUT_GUARD:
        return "guard", "its guard page"
    return "unmapped", "a page that nothing maps"
