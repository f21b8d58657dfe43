"""Who owns an address? The answer names the innermost thing that holds it.

    0xffffe8ffc2400010    ► chunk 1 ► unit of CPU 0 ► page 0 ► area at 16 ► who allocated it, when
    phys:0x3ec00000       ► first chunk, unit of CPU 0          (owners_phys.py)
    percpu:0x37000        ► the same, for the copies of all CPUs

An answer is one sentence with facts beneath it, all of the present step. Nothing here moves or
changes the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.paging import is_canonical
from tui.debugger.addresses import PERCPU, PHYSICAL, parse_address
from tui.debugger.areas import area_owner
from tui.debugger.owner import Owner
from tui.debugger.owners_areas import area_space_owner
from tui.debugger.owners_phys import is_memory, owner_of_physical
from tui.debugger.owners_stretches import COPIES_SHOWN, is_percpu_ptr, owner_of_ptr, percpu_owner
from tui.debugger.owners_units import unit_owner
from tui.debugger.symbols import image_symbol_at
from tui.debugger.table import Cell

if TYPE_CHECKING:
    from tui.debugger.session import Session

__all__ = ["Owner", "area_owner", "owner_of_percpu", "owner_of_physical", "whatis"]


def whatis(session: Session, address: int | str) -> Owner:
    """Say who owns an address: virtual as a number, or any kind as people type it.

    Raises CommandError for a text that is no address.
    """
    if isinstance(address, int):
        return owner_of_virtual(session, address)
    kind, value = parse_address(session.machine, address)
    ask = {PHYSICAL: owner_of_physical, PERCPU: owner_of_percpu}.get(kind, owner_of_virtual)
    return ask(session, value)


# -- virtual addresses ---------------------------------------------------------------------------


def owner_of_virtual(session: Session, virt: int) -> Owner:
    """Say who owns a virtual address."""
    machine = session.machine
    owner = (
        _no_kernel_address(machine, virt)
        or percpu_owner(session, virt)
        or _offset_table_owner(machine, virt)
        or _direct_map_owner(session, virt)
        or area_space_owner(machine, virt)
        or _image_owner(machine, virt)
        or Owner(virt, "nothing", "nothing's: no part of this kernel lies there")
    )
    owner.address = virt
    owner.facts += _translation(machine, virt)
    return owner


def _no_kernel_address(machine: Machine, virt: int) -> Owner | None:
    if not is_canonical(virt, machine.space.levels):
        why = "its upper bits are not all alike" if machine.arch.is_64bit else "it has over 32 bits"
        return Owner(virt, "non-canonical", f"no address: {why}")
    if virt < _user_end(machine):
        ptr_hint = ""
        if is_percpu_ptr(machine, virt):
            ptr_hint = f"; as a __percpu pointer see percpu:{virt:#x}"
        return Owner(virt, "user", f"in the user half, which this machine does not use{ptr_hint}")
    return None


def _user_end(machine: Machine) -> int:
    if not machine.arch.is_64bit:
        return machine.arch.direct_map_addr
    return 1 << machine.space.mode.sign_bit


def _direct_map_owner(session: Session, virt: int) -> Owner | None:
    machine = session.machine
    phys = virt - machine.arch.direct_map_addr
    top = max(end for ranges in machine.pages.memory.values() for _, end in ranges)
    if not 0 <= phys < min(top, machine.arch.direct_map_bytes_max):
        return None
    owner = owner_of_physical(session, phys)
    if owner.kind == "kernel image" and machine.arch.image_map_addr == machine.arch.direct_map_addr:
        name = image_symbol_at(machine, virt)
        owner.summary += f" ({name})" if name else ""
    owner.summary = f"the direct map of physical {phys:#x}, {owner.summary}"
    return owner


def _offset_table_owner(machine: Machine, virt: int) -> Owner | None:
    table = machine.symbols["__per_cpu_offset"]
    index = (virt - table) // machine.arch.word_bytes
    if not 0 <= index < machine.topology.nr_cpu_ids:
        return None
    return Owner(virt, "kernel image", f"__per_cpu_offset[{index}] in the kernel image")


def _image_owner(machine: Machine, virt: int) -> Owner | None:
    if virt < machine.arch.image_map_addr or machine.space.translate(virt) is None:
        return None
    name = image_symbol_at(machine, virt)
    return Owner(virt, "kernel image", f"in the kernel image{f' ({name})' if name else ''}")


def _translation(machine: Machine, virt: int) -> list[tuple[str, Cell]]:
    walk = machine.space.walk(virt)
    if walk.phys is None:
        return [("physical", f"none: {walk.fault}")]
    facts: list[tuple[str, Cell]] = [
        ("physical", f"{walk.phys:#x}"),
        ("page_size", walk.page_size_bytes),
    ]
    if is_memory(machine, walk.phys):
        facts.append(("physical_node", machine.pages.node_of_pfn(walk.phys >> PAGE_SHIFT)))
    return facts


# -- __percpu pointers ---------------------------------------------------------------------------


def owner_of_percpu(session: Session, ptr: int) -> Owner:
    """Say what a __percpu pointer stands for and where its copies are."""
    machine = session.machine
    percpu = machine.bitmap
    if percpu is None:
        return owner_of_ptr(session, ptr)
    addr = percpu.addr_of(ptr)
    first_cpu = next(cpu for cpu in machine.places.cpus if not machine.places.unit_offsets[cpu])
    owner = unit_owner(session, addr)
    if owner is None or owner.cpu != first_cpu:
        return Owner(ptr, "nothing", "no __percpu pointer: no chunk holds it")
    unit = f"unit of CPU {first_cpu}, "
    owner.summary = "a __percpu pointer: " + owner.summary.replace(unit, "")
    owner.summary = owner.summary.replace(f" of CPU {first_cpu},", ",")
    owner.address, owner.cpu = ptr, None
    owner.facts = [fact for fact in owner.facts if fact[0] not in ("cpu", "node")]
    for cpu in machine.places.cpus[:COPIES_SHOWN]:
        copy = addr + machine.places.unit_offsets[cpu] & machine.arch.address_mask
        owner.facts.append((f"copy of CPU {cpu}", f"{copy:#x}"))
    if len(machine.places.cpus) > COPIES_SHOWN:
        owner.facts.append(("more copies", len(machine.places.cpus) - COPIES_SHOWN))
    return owner
