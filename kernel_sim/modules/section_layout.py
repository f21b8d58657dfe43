"""Where the sections of a module go: one block that stays (core), one that init leaves behind.

    core | .text .exit.text …| .rodata __ksymtab …| .data..ro_after_init | .data .bss … | symbols |
         ^ executable        ^ read-only          ^ read-only after init ^ writable
    init | .init.text | .init.rodata | | .init.data … | symbol table, strings |

Each part of core begins on a page of its own, since a page has one protection. Within a part the order is
that of the file. The per-CPU section, .modinfo and __versions are left out: the first goes to the per-CPU
system, the others are read from the file only.
Source: kernel/module/main.c, Linux 6.1: layout_and_allocate(), layout_sections(); x86 puts nothing in front
of a section (arch_mod_section_prepend() is 0) and has no small data (ARCH_SHF_SMALL is 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kernel_sim.alignment import align_up
from kernel_sim.modules.elf_headers import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, Section
from kernel_sim.modules.elf_object import ElfObject, find_percpu_section, find_section

SHF_RO_AFTER_INIT = 0x00200000
NOT_KEPT = (".modinfo", "__versions")
RO_AFTER_INIT = (".data..ro_after_init", "__jump_table")

_PASSES = (
    (SHF_EXECINSTR | SHF_ALLOC, 0),
    (SHF_ALLOC, SHF_WRITE),
    (SHF_RO_AFTER_INIT | SHF_ALLOC, 0),
    (SHF_WRITE | SHF_ALLOC, 0),
    (SHF_ALLOC, 0),
)
"""Flags a section must have and must not have, pass by pass; the first pass that fits takes it."""


@dataclass(slots=True)
class BlockLayout:
    """One of the two blocks: its size and where its protections change, in bytes from its start."""

    size_bytes: int = 0
    text_bytes: int = 0
    ro_bytes: int = 0
    ro_after_init_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a section goes: offset in bytes from the start of its block."""

    section: Section
    in_init: bool
    offset_bytes: int


@dataclass(slots=True)
class ModuleLayout:
    """Both blocks and the places in them, by section index."""

    core: BlockLayout = field(default_factory=BlockLayout)
    init: BlockLayout = field(default_factory=BlockLayout)
    placed: dict[int, Placed] = field(default_factory=dict)


def layout_sections(sections: Sequence[Section], page_size: int) -> ModuleLayout:
    """Return where every section that takes memory goes. Sections come in the order of the file.

    Source: layout_sections(), Linux 6.1, with CONFIG_STRICT_MODULE_RWX and CONFIG_MODULE_UNLOAD.
    """
    layout = ModuleLayout()
    flags_by_index = _loaded_flags(sections)
    for in_init, block in ((False, layout.core), (True, layout.init)):
        for pass_number, (wanted, unwanted) in enumerate(_PASSES):
            for section in sections:
                flags = flags_by_index[section.index]
                if (
                    flags & wanted != wanted
                    or flags & unwanted
                    or section.index in layout.placed
                    or section.name.startswith(".init") != in_init
                ):
                    continue
                offset = module_get_offset(block, section)
                layout.placed[section.index] = Placed(section, in_init, offset)
            _end_pass(block, pass_number, in_init, page_size)
    return layout


def module_get_offset(block: BlockLayout, section: Section) -> int:
    """Take room for a section at the end of a block and return its offset."""
    offset = align_up(block.size_bytes, section.align or 1)
    block.size_bytes = offset + section.size_bytes
    return offset


def find_writable_code(elf: ElfObject) -> Section | None:
    """Return a section that is both writable and executable, which the kernel refuses, or None.

    Source: module_enforce_rwx_sections(), Linux 6.1.
    """
    both = SHF_WRITE | SHF_EXECINSTR
    return next((section for section in elf.sections if section.flags & both == both), None)


def _loaded_flags(sections: Sequence[Section]) -> dict[int, int]:
    """Return every section's flags as they are once the special ones are marked.

    Only the first of a name is special: the kernel finds it by name and looks no further.
    """
    flags_by_index = {section.index: section.flags for section in sections}
    percpu = find_percpu_section(sections)
    if percpu is not None:
        flags_by_index[percpu.index] &= ~SHF_ALLOC
    for name in NOT_KEPT:
        section = find_section(sections, name)
        if section is not None:
            flags_by_index[section.index] &= ~SHF_ALLOC
    for name in RO_AFTER_INIT:
        section = find_section(sections, name)
        if section is not None:
            flags_by_index[section.index] |= SHF_RO_AFTER_INIT
    return flags_by_index


def _end_pass(block: BlockLayout, pass_number: int, in_init: bool, page_size: int) -> None:
    """Begin a new page where the protection changes; read-only after init is no matter in init."""
    if pass_number in (0, 1, 4) or (pass_number == 2 and not in_init):
        block.size_bytes = align_up(block.size_bytes, page_size)
    if pass_number == 0:
        block.text_bytes = block.size_bytes
    elif pass_number == 1:
        block.ro_bytes = block.size_bytes
    elif pass_number == 2:
        block.ro_after_init_bytes = block.ro_bytes if in_init else block.size_bytes
