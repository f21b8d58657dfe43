"""A module on its way in: all that is known before anything is allocated, and what loading finds out.

Nothing here lasts: it belongs to one load_module() and is gone when that ends.

Some per-CPU systems want a pointer beside every variable (rostedt-2006-modules). An object of today
has none, so it is taken as if it had been compiled for that kernel: with a `.data.percpu_offset`
beside its per-CPU section, part of the module's data like any other.
Source: kernel/module/internal.h, Linux 6.1: struct load_info.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kernel_sim.errors import ConfigError
from kernel_sim.modules.elf_headers import SHF_ALLOC, SHF_WRITE, SHT_NOBITS, Section
from kernel_sim.modules.elf_object import ElfObject, find_section, parse_elf
from kernel_sim.modules.modinfo import ModInfo, read_modinfo
from kernel_sim.modules.script import ModuleScript, parse_script
from kernel_sim.modules.section_layout import (
    ModuleLayout,
    find_writable_code,
    layout_sections,
)
from kernel_sim.modules.symtab_layout import SymtabLayout, layout_symtab

OFFSET_SECTION = ".data.percpu_offset"


@dataclass(slots=True)
class LoadInfo:
    """One object being loaded.

    section_addrs: where each loaded section is, by index. values: the symbols' values, at first
    offsets in their sections, then addresses.
    """

    elf: ElfObject
    modinfo: ModInfo
    script: ModuleScript
    layout: ModuleLayout
    symtab: SymtabLayout
    percpu: Section | None
    section_addrs: dict[int, int] = field(default_factory=dict)
    values: list[int] = field(default_factory=list)

    @property
    def is_plain_object(self) -> bool:
        """Whether this is a compiler's .o, not a .ko that the kernel's build made of it."""
        return self.elf.find_section(".gnu.linkonce.this_module") is None

    @property
    def nr_percpu_variables(self) -> int:
        """How many variables the per-CPU section has: the named objects in it, at least one."""
        return nr_percpu_variables(self.elf)

    def find_symbol_size(self, name: str) -> int | None:
        """Return the size of a function or variable this object defines, or None."""
        for symbol in self.elf.symbols:
            if symbol.name == name and symbol.section_index != 0:
                return symbol.size_bytes
        return None


def read_load_info(
    image: bytes, name: str, script: str, *, arch: str, page_size: int, pointer_bytes: int = 0
) -> LoadInfo:
    """Return what can be known of an object before it is loaded; it is checked as far as that goes.

    pointer_bytes: of the pointer that goes with every per-CPU variable, 0 if there is none.

    Raises ModuleFormatError or ConfigError for what no kernel of this arch could load at all.
    """
    elf = parse_elf(image)
    if elf.arch != arch:
        raise ConfigError(f"Invalid architecture in ELF header: {elf.arch}, this machine is {arch}")
    writable_code = find_writable_code(elf)
    if writable_code is not None:
        raise ConfigError(
            f"section {writable_code.name} (index {writable_code.index}) "
            "has invalid WRITE|EXEC flags"
        )
    modinfo = read_modinfo(elf, name)
    parsed = parse_script(script)
    layout = layout_sections(_with_pointers(elf, pointer_bytes), page_size)
    symtab = layout_symtab(elf, layout, page_size)
    values = [symbol.value for symbol in elf.symbols]
    return LoadInfo(elf, modinfo, parsed, layout, symtab, elf.find_percpu_section(), values=values)


def nr_percpu_variables(elf: ElfObject) -> int:
    """Return how many named objects the per-CPU section has, at least one."""
    percpu = elf.find_percpu_section()
    index = percpu.index if percpu is not None else -1
    return max(sum(bool(each.name) and each.section_index == index for each in elf.symbols), 1)


def _with_pointers(elf: ElfObject, pointer_bytes: int) -> Sequence[Section]:
    """Return the sections, with one for the pointers if it is missing.

    A linked module has it among its data and .bss behind that; in an object .bss may come sooner.
    """
    sections, percpu = elf.sections, elf.find_percpu_section()
    has_one = find_section(sections, OFFSET_SECTION) is not None
    if not pointer_bytes or percpu is None or not percpu.size_bytes or has_one:
        return sections
    pointers = Section(
        index=len(sections),
        name=OFFSET_SECTION,
        type=SHT_NOBITS,
        flags=SHF_ALLOC | SHF_WRITE,
        size_bytes=nr_percpu_variables(elf) * pointer_bytes,
        align=pointer_bytes,
    )
    bss = find_section(sections, ".bss")
    at = min(sections.index(percpu) + 1, sections.index(bss) if bss is not None else len(sections))
    return (*sections[:at], pointers, *sections[at:])
