"""The kernel's own symbols, as a System.map or /proc/kallsyms lists them, for a machine's [symbols].

    0000000000000000 A __per_cpu_start     per-CPU: from here …
    0000000000034080 A steal_time             an offset in every CPU's unit
    0000000000035000 A __per_cpu_end       … to here
    ffffffff81000000 T _text               the kernel: an address, KASLR's shift taken off
    ffffffffc0424000 t virtio_init  [x]    a module: left out

A System.map names kinds as the linker saw them (D, d, B …), kallsyms calls per-CPU symbols absolute.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel_sim.config import SYMBOLS_MAX
from kernel_sim.proc.kallsyms import SymbolRow
from snapshots.errors import InputError
from snapshots.logs.text_source import read_lines
from snapshots.proc.kallsyms import parse_kallsyms_rows
from snapshots.proc.scan import TEXT_CHARS_MAX

PER_CPU_START = "__per_cpu_start"
PER_CPU_END = "__per_cpu_end"
TEXT_START = "_text"
IMAGE_END = "_end"
ABSOLUTE = ("A", "a")
IMAGE_START = 0xFFFFFFFF81000000  # _text of x86-64 without KASLR
IMAGE_MAP = 0xFFFFFFFF80000000
IMAGE_BYTES_MAX = 1 << 30  # as far as KASLR leaves room for it


@dataclass(frozen=True, slots=True)
class KernelSymbols:
    """Symbols by name, in file order; percpu holds what the file says, an offset on x86-64."""

    percpu: dict[str, int]
    kernel: dict[str, int]
    static_bytes: int  # of per-CPU data

    def for_config(self, limit: int = SYMBOLS_MAX) -> dict[str, int]:
        """Return at most limit symbols for [symbols], the per-CPU ones first."""
        merged = {**self.percpu}
        for name, addr in self.kernel.items():
            merged.setdefault(name, addr)
        return dict(list(merged.items())[:limit])


def read_kernel_symbols(path: Path) -> KernelSymbols:
    """Read a file, plain or gzip. Raises: InputError as parse_kernel_symbols() does."""
    return parse_kernel_symbols("".join(read_lines(path, limit_bytes=TEXT_CHARS_MAX)), str(path))


def parse_kernel_symbols(text: str, where: str) -> KernelSymbols:
    """Return the symbols of a System.map or kallsyms text; of equal names the first counts.

    Raises: InputError, naming line and column, if a line is malformed, if all addresses are hidden,
    or if the ends of the per-CPU section are missing.
    """
    rows = [row for row in parse_kallsyms_rows(text, where) if not row.module]
    if not rows:
        raise InputError(f"{where}: no symbols; expected lines such as 'ffffffff81000000 T _text'")
    if not any(row.addr for row in rows):
        raise InputError(
            f"{where}: all {len(rows)} addresses are 0; expected the file as root reads it with "
            "kernel.kptr_restrict=0 or 1, or the System.map of the kernel"
        )
    start, end = (_bound(rows, name, where) for name in (PER_CPU_START, PER_CPU_END))
    if end.addr <= start.addr:
        raise InputError(
            f"{where}: {PER_CPU_END} at {end.addr:#x}; expected it above {PER_CPU_START}, "
            f"{start.addr:#x}"
        )
    percpu: dict[str, int] = {}
    kernel: dict[str, int] = {}
    for row in rows:
        if _is_percpu(row, start, end):
            percpu.setdefault(row.name, row.addr)
        elif row.addr:
            kernel.setdefault(row.name, row.addr)
    return KernelSymbols(percpu, _without_kaslr(kernel), end.addr - start.addr)


def _bound(rows: list[SymbolRow], name: str, where: str) -> SymbolRow:
    found = next((row for row in rows if row.name == name), None)
    if found is None:
        raise InputError(
            f"{where}: no symbol {name}; expected the whole System.map or kallsyms of a kernel with "
            "more than one CPU"
        )
    return found


def _is_percpu(row: SymbolRow, start: SymbolRow, end: SymbolRow) -> bool:
    """Say whether a symbol lies in the per-CPU section.

    A System.map has constants among them, of a kind of their own: absolute.
    """
    if row.name == end.name:
        return True
    constant = row.kind in ABSOLUTE and start.kind not in ABSOLUTE
    return start.addr <= row.addr < end.addr and not constant


def _without_kaslr(kernel: dict[str, int]) -> dict[str, int]:
    """Return the addresses that the image was linked at; what lies elsewhere is left out if it moved."""
    text = kernel.get(TEXT_START, IMAGE_START)
    shift = text - IMAGE_START
    if not shift or text < IMAGE_MAP:
        return kernel
    last = kernel.get(IMAGE_END, text + IMAGE_BYTES_MAX)
    return {name: addr - shift for name, addr in kernel.items() if text <= addr <= last}
