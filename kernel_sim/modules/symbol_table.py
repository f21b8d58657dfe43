"""Names across module borders: what the kernel and the loaded modules export, and who owns it.

    kernel ──► every name the machine was given (System.map); a per-CPU one stands for its offset
    .ko    ──► __ksymtab, __ksymtab_gpl: relative entries on x86-64, pointers on i386, made by relocation
    .o     ──► has no such table: all its global symbols count as exported

Licences are not modelled: a GPL-only symbol is given to everybody.
Source: kernel/module/main.c, Linux 6.1: find_symbol(); include/linux/export.h: struct kernel_symbol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kernel_sim.modules.elf_headers import NAME_BYTES_MAX, SHN_UNDEF, X86_64
from kernel_sim.modules.host import ModuleHost
from kernel_sim.modules.load_info import LoadInfo
from kernel_sim.modules.module import UNFORMED, Module, ModuleSymbol
from kernel_sim.modules.symtab_layout import type_letter

NEVER_EXPORTED = ("init_module", "cleanup_module", "__this_module")
KERNEL_SYMBOL_BYTES = 12
"""struct kernel_symbol: value, name, namespace, each of 4 bytes on both processors."""

ReadMemory = Callable[[int, int], bytes]


class Exported(NamedTuple):
    """What a name stands for; owner is a module, or None for the kernel."""

    name: str
    value: int
    owner: Module | None
    is_percpu: bool


def find_symbol(host: ModuleHost, modules: Iterable[Module], name: str) -> Exported | None:
    """Return what a name stands for: the kernel's symbol first, then those of formed modules."""
    value = host.kernel_symbol(name)
    if value is not None:
        return Exported(name, value, None, host.is_percpu_symbol(name))
    for module in modules:
        symbol = module.exports.get(name)
        if symbol is not None and module.state != UNFORMED:
            return Exported(name, symbol.value, module, symbol.is_percpu)
    return None


def core_symbols_of(info: LoadInfo) -> list[ModuleSymbol]:
    """Return the symbols that stay when init is gone, per-CPU variables among them."""
    symbols = []
    for index in info.symtab.core_symbols[1:]:
        symbol = info.elf.symbols[index]
        is_percpu = info.percpu is not None and symbol.section_index == info.percpu.index
        letter = type_letter(info.elf, symbol, info.percpu)
        if symbol.bind != "local":
            letter = letter.upper() if letter not in ("w", "v") else letter
        symbols.append(
            ModuleSymbol(symbol.name, info.values[index], symbol.size_bytes, letter, is_percpu)
        )
    return symbols


def exports_of(info: LoadInfo, symbols: list[ModuleSymbol], read: ReadMemory) -> list[ModuleSymbol]:
    """Return what a relocated module offers to others, in the order of its tables.

    Raises ValueError if its table of exports points out of the module.
    """
    if info.is_plain_object:
        return _globals_of(info, symbols)
    known = {symbol.name: symbol for symbol in symbols}
    exports = []
    for table_name in ("__ksymtab", "__ksymtab_gpl"):
        table = info.elf.find_section(table_name)
        if table is None:
            continue
        table_addr = info.section_addrs[table.index]
        data = read(table_addr, table.size_bytes)
        for at in range(0, len(data) - KERNEL_SYMBOL_BYTES + 1, KERNEL_SYMBOL_BYTES):
            value, name_addr = _entry(info.elf.arch, data, at, table_addr)
            name = _text_at(info, name_addr, read)
            own = known.get(name)
            exports.append(
                ModuleSymbol(
                    name, value, own.size_bytes if own else 0, own.letter if own else "?",
                    own is not None and own.is_percpu,
                )
            )  # fmt: skip
    return exports


def _globals_of(info: LoadInfo, symbols: list[ModuleSymbol]) -> list[ModuleSymbol]:
    names = {
        symbol.name: None
        for symbol in info.elf.symbols
        if symbol.bind == "global"
        and symbol.section_index != SHN_UNDEF
        and symbol.name not in NEVER_EXPORTED
    }
    return [symbol for symbol in symbols if symbol.name in names and symbol.letter.isupper()]


def _entry(arch: str, data: bytes, at: int, table_addr: int) -> tuple[int, int]:
    """Return (value, address of the name) of one struct kernel_symbol."""
    if arch != X86_64:
        value, name_addr, _ = struct.unpack_from("<III", data, at)
        return value, name_addr
    value_offset, name_offset, _ = struct.unpack_from("<iii", data, at)
    mask = (1 << 64) - 1
    return (table_addr + at + value_offset & mask, table_addr + at + 4 + name_offset & mask)


def _text_at(info: LoadInfo, addr: int, read: ReadMemory) -> str:
    for index, start in info.section_addrs.items():
        end = start + info.elf.sections[index].size_bytes
        if start <= addr < end:
            text, nul, _ = read(addr, min(end - addr, NAME_BYTES_MAX + 1)).partition(b"\0")
            if nul and text:
                return text.decode("ascii", "backslashreplace")
    raise ValueError(f"no name of an exported symbol lies at {addr:#x}")
