"""An address as people type it.

    0xffff88803ec35000   ffff88803ec35000     virtual
    phys:0x3ec35000      pfn:0x3ec35          physical; by number of its page
    percpu:0x37000                            what alloc_percpu() returns
    percpu:0x37000@2     percpu:0x37000@2+8   its copy of CPU 2, a virtual address
    cpu_number   __per_cpu_offset+8           symbols, of modules too; per-CPU ones are __percpu pointers

Hex digits need no 0x where there are 16 of them, or a letter among them: so the kernel prints them.
"""

from __future__ import annotations

from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SHIFT
from tui.debugger.errors import CommandError
from tui.debugger.symbols import find_symbol

VIRTUAL = "virt"
PHYSICAL = "phys"
PERCPU = "percpu"
PFN = "pfn"  # another way to type a physical address
PREFIXES = (VIRTUAL, PHYSICAL, PFN, PERCPU)
EXPECTED = (
    "expected 0xffff…, phys:0x…, pfn:0x…, percpu:0x…, percpu:0x…@CPU or a symbol, each with +OFFSET"
)
POINTER_DIGITS = 16
DECIMAL_DIGITS_MAX = 20
NUMBER_MAX = (1 << 64) - 1
HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def parse_number(text: str) -> int | None:
    """Return the number that a text stands for, 0 to 2^64-1, None if it is none."""
    digits = text.removeprefix("0x").removeprefix("0X")
    if not digits or len(digits) > DECIMAL_DIGITS_MAX or not HEX_DIGITS.issuperset(digits):
        return None
    is_hex = digits != text or len(digits) == POINTER_DIGITS or not digits.isdigit()
    value = int(digits, 16 if is_hex else 10)
    return value if value <= NUMBER_MAX else None


def parse_address(machine: Machine, text: str) -> tuple[str, int]:
    """Return (kind, number) of a typed address. Raises CommandError."""
    prefix, colon, rest = text.strip().partition(":")
    kind = prefix if colon else VIRTUAL
    if kind not in PREFIXES:
        raise CommandError(f"{text!r}: {prefix!r} is no kind of address: {EXPECTED}")
    body, at, cpu_text = (rest if colon else prefix).partition("@")
    name, plus, offset_text = body.partition("+")
    if not plus:
        cpu_text, plus, offset_text = cpu_text.partition("+")
    value = parse_number(name)
    if value is None:
        symbol = find_symbol(machine, name)
        if symbol is not None:
            value, is_percpu = symbol
            kind = PERCPU if is_percpu else kind
    offset = parse_number(offset_text) if plus else 0
    if kind == PFN and value is not None:
        kind, value = PHYSICAL, value << PAGE_SHIFT
    if value is None or offset is None:
        raise CommandError(f"{text!r} is no address: {EXPECTED}")
    mask = NUMBER_MAX if kind == PHYSICAL else machine.arch.address_mask
    if value > mask:
        raise CommandError(f"{text!r}: an address of {machine.arch.name} is {mask:#x} at most")
    if not at:
        return kind, value + offset & mask
    return VIRTUAL, _copy_of(machine, kind, value, cpu_text, text) + offset & mask


def _copy_of(machine: Machine, kind: str, ptr: int, cpu_text: str, text: str) -> int:
    """Return where a CPU's copy is. What the system says is no ptr is taken for one of the static section."""
    cpu = parse_number(cpu_text)
    if kind != PERCPU or cpu not in machine.cpus:
        raise CommandError(f"{text!r}: @CPU goes with percpu: and a CPU there is: {EXPECTED}")
    addr = machine.system.copy_addr(ptr, cpu)
    return ptr + machine.per_cpu_offset(cpu) & machine.arch.address_mask if addr is None else addr
