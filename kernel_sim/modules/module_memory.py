"""The memory of one module: its blocks, its per-CPU area, its relocated bytes, its protections.

    layout_and_allocate ─► move_module ─► percpu_modalloc ─► apply_relocations ─► post_relocation
                                                                                  └► percpu_modcopy
    module_deallocate: all of it back, the per-CPU area first

Every function takes the host, the CPU it runs on, and the module; what it allocates is noted in the module
at once, so that whoever gives up finds it there.
Source: kernel/module/main.c, strict_rwx.c, Linux 6.1.
"""

from __future__ import annotations

from kernel_sim.modules.elf_headers import SHT_NOBITS, X86_64
from kernel_sim.modules.elf_object import RelocationSection
from kernel_sim.modules.errors import ENOEXEC, ENOMEM
from kernel_sim.modules.host import RO, ROX, ModuleHost
from kernel_sim.modules.load_info import LoadInfo
from kernel_sim.modules.module import Module, SectionAt
from kernel_sim.modules.relocate_i386 import apply_relocate
from kernel_sim.modules.relocate_x86_64 import apply_relocate_add
from kernel_sim.modules.relocation import LoadedBytes, Refused
from kernel_sim.modules.section_layout import BlockLayout
from kernel_sim.modules.symtab_layout import core_symtab_bytes
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.primitives import PREEMPT

KERN_ERR, KERN_WARNING = 3, 4
PERCPU_CALL_SITE = "load_module+0xf48/0x21a0"
"""Where a module's per-CPU section is asked for in Debian's 6.1 kernel; percpu_modalloc() is inlined."""


async def layout_and_allocate(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> int:
    """Give the module its two blocks with its sections in them; 0 or -ENOMEM, then nothing is left."""
    mod.core_size_bytes = info.layout.core.size_bytes
    mod.init_size_bytes = info.layout.init.size_bytes
    return await move_module(host, cpu, mod, info)


async def move_module(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> int:
    """Allocate core and init, clear them, and copy the sections in; 0 or -ENOMEM."""
    addr = await host.module_alloc(cpu, mod.core_size_bytes)
    if not addr:
        return -ENOMEM
    mod.core_addr = addr
    _clear(host, cpu, addr, mod.core_size_bytes)
    addr = await host.module_alloc(cpu, mod.init_size_bytes)
    if not addr:
        await host.module_memfree(cpu, mod.core_addr)
        mod.core_addr = 0
        return -ENOMEM
    mod.init_addr = addr
    _clear(host, cpu, addr, mod.init_size_bytes)
    for placed in sorted(info.layout.placed.values(), key=lambda placed: placed.section.index):
        await PREEMPT
        section = placed.section
        base = mod.init_addr if placed.in_init else mod.core_addr
        addr = base + placed.offset_bytes
        if section.type != SHT_NOBITS and section.size_bytes:
            host.write(cpu, addr, info.elf.data_of(section))
        info.section_addrs[section.index] = addr
        mod.sections.append(SectionAt(section.name, addr, section.size_bytes))
    return 0


async def percpu_modalloc(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> int:
    """Allocate the module's per-CPU section for every CPU, in the reserved chunk; 0 or -ENOMEM."""
    section = info.percpu
    if section is None or not section.size_bytes:
        return 0
    align = section.align or 1
    if align > host.percpu_align_max:
        text = f"{mod.name}: per-cpu alignment {align} > {host.percpu_align_max}"
        host.printk(cpu, KERN_WARNING, text)
        align = host.percpu_align_max
    ptr = await host.modalloc(
        cpu, mod.name, section.size_bytes, align, info.nr_percpu_variables, PERCPU_CALL_SITE
    )
    if ptr == MODALLOC_SAID:
        return -ENOMEM
    if not ptr:
        host.printk(
            cpu, KERN_WARNING,
            f"{mod.name}: Could not allocate {section.size_bytes} bytes percpu data",
        )  # fmt: skip
        return -ENOMEM
    mod.percpu_ptr, mod.percpu_size_bytes, mod.percpu_align = ptr, section.size_bytes, align
    return 0


async def apply_relocations(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> int:
    """Mend all sections that take memory; 0 or -ENOEXEC.

    The per-CPU section is passed over, as in the kernel: it takes no memory of the module. So a
    pointer in the initial value of a module's per-CPU variable stays what it is in the file.
    """
    for part in info.elf.relocation_sections:
        if part.target_index not in info.section_addrs:
            continue
        await PREEMPT
        refused = _relocate_section(host, cpu, mod, info, part)
        if refused is not None:
            for line in refused.lines:
                host.printk(cpu, KERN_ERR, line)
            return -ENOEXEC
    return 0


async def post_relocation(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> int:
    """Fill every CPU's copy of the per-CPU section, and the symbol tables; 0 or -ENOMEM."""
    result = await percpu_modcopy(host, cpu, mod, info)
    if result:
        return result
    symbols, names, types = core_symtab_bytes(info.elf, info.symtab, info.values)
    host.write(cpu, mod.core_addr + info.symtab.symbols_offset, symbols)
    host.write(cpu, mod.core_addr + info.symtab.strings_offset, names)
    host.write(cpu, mod.core_addr + info.symtab.types_offset, types)
    return 0


async def percpu_modcopy(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> int:
    """Copy the initial image of the per-CPU section to every copy there is; 0 or -ENOMEM."""
    if info.percpu is None or not mod.percpu_size_bytes:
        return 0
    image = info.elf.data_of(info.percpu) or bytes(info.percpu.size_bytes)
    if not host.take_image(cpu, mod.percpu_ptr, image):
        return -ENOMEM
    for owner in host.possible_cpus:
        await PREEMPT
        addr = host.per_cpu_addr(mod.percpu_ptr, owner)
        if addr is not None:
            host.write(cpu, addr, image)
    return 0


async def percpu_modfree(host: ModuleHost, cpu: int, mod: Module) -> None:
    """Give the module's per-CPU area back, if it has one."""
    if mod.percpu_ptr:
        ptr, mod.percpu_ptr = mod.percpu_ptr, 0
        mod.percpu_size_bytes = mod.percpu_align = 0
        await host.modfree(cpu, ptr)


async def module_deallocate(host: ModuleHost, cpu: int, mod: Module) -> None:
    """Give all memory of a module back that was never formed."""
    await percpu_modfree(host, cpu, mod)
    for addr in (give_up_init(mod), give_up_core(mod)):
        if addr:
            await host.module_memfree(cpu, addr)


def give_up_init(mod: Module) -> int:
    """Forget what only the init function needed; return its address for the caller to free, or 0."""
    addr, size_bytes = mod.init_addr, mod.init_size_bytes
    mod.init_addr = mod.init_size_bytes = 0
    mod.sections = [at for at in mod.sections if not addr <= at.addr < addr + size_bytes]
    return addr


def give_up_core(mod: Module) -> int:
    """Forget the block that stays; return its address for the caller to free, or 0."""
    addr = mod.core_addr
    mod.core_addr = mod.core_size_bytes = 0
    mod.sections, mod.symbols, mod.exports = [], [], {}
    return addr


def enable_protections(host: ModuleHost, cpu: int, mod: Module, info: LoadInfo) -> None:
    """Make text executable and constants read-only; what is read-only after init stays writable.

    Source: module_enable_ro(), module_enable_nx(), module_enable_x(), Linux 6.1, which do not look
    whether the pages took the protection.
    """
    blocks = ((mod.core_addr, info.layout.core), (mod.init_addr, info.layout.init))
    for base, block in blocks:
        _set_memory(host, cpu, base, 0, block.text_bytes, ROX)
        _set_memory(host, cpu, base, block.text_bytes, block.ro_bytes, RO)


def protect_after_init(host: ModuleHost, cpu: int, mod: Module, core: BlockLayout) -> None:
    """Make read-only what only init may write. Source: module_enable_ro(mod, true), Linux 6.1."""
    _set_memory(host, cpu, mod.core_addr, core.ro_bytes, core.ro_after_init_bytes, RO)


async def cpa_flush(host: ModuleHost, cpu: int, mod: Module) -> None:
    """Let no CPU keep a right to pages that became read-only.

    Source: arch/x86/mm/pat/set_memory.c, Linux 6.1.
    """
    for addr, size_bytes in (
        (mod.core_addr, mod.core_size_bytes),
        (mod.init_addr, mod.init_size_bytes),
    ):
        if size_bytes:
            await host.flush_tlb_kernel_range(cpu, addr, addr + size_bytes)


def _set_memory(host: ModuleHost, cpu: int, base: int, start: int, end: int, kind: str) -> None:
    if end > start:
        host.set_memory(cpu, base + start, (end - start) // host.page_size, kind)


def _clear(host: ModuleHost, cpu: int, addr: int, size_bytes: int) -> None:
    zeros = bytes(host.page_size)
    for offset in range(0, size_bytes, host.page_size):
        host.write(cpu, addr + offset, zeros)


def _relocate_section(
    host: ModuleHost, cpu: int, mod: Module, info: LoadInfo, part: RelocationSection
) -> Refused | None:
    is_x86_64 = info.elf.arch == X86_64
    if part.has_addends != is_x86_64:
        kind = "RELA" if part.has_addends else "REL"
        return Refused((f"module {mod.name}: {kind} relocation unsupported",))
    addr = info.section_addrs[part.target_index]
    size_bytes = info.elf.sections[part.target_index].size_bytes
    target = LoadedBytes(addr, bytearray(host.read(cpu, addr, size_bytes)), mod.name)
    apply = apply_relocate_add if is_x86_64 else apply_relocate
    refused = apply(target, part.relocations, info.values)
    if refused is None:
        host.write(cpu, addr, bytes(target.data))
    return refused
