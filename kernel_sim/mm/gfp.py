"""GFP flags: what a caller tells the page allocator about its request.

    bits    0..3   which zone, and whether the page may be moved later
    bits    4..9   what the pages are for, which reserves may be touched
    bits   10..11  may the caller wait (direct reclaim), may kswapd be woken
    bits   12..23  how hard to try, from where, on whose bill

The values are those of Linux 6.1 on x86-64 (include/linux/gfp_types.h); the names and the order in
which they are printed are those of its trace events (include/trace/events/mmflags.h).

The kernel writes single bits with two leading underscores. Python mangles such a name inside a
class, so here a bit is called GFP_ZERO, not __GFP_ZERO. Only one name would clash: __GFP_ATOMIC is
GFP_ATOMIC_BIT.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kernel_sim.errors import ConfigError

GFP_DMA: Final = 0x01
GFP_HIGHMEM: Final = 0x02
GFP_DMA32: Final = 0x04
GFP_MOVABLE: Final = 0x08
GFP_RECLAIMABLE: Final = 0x10
GFP_HIGH: Final = 0x20
GFP_IO: Final = 0x40
GFP_FS: Final = 0x80
GFP_ZERO: Final = 0x100
GFP_ATOMIC_BIT: Final = 0x200
GFP_DIRECT_RECLAIM: Final = 0x400
GFP_KSWAPD_RECLAIM: Final = 0x800
GFP_WRITE: Final = 0x1000
GFP_NOWARN: Final = 0x2000
GFP_RETRY_MAYFAIL: Final = 0x4000
GFP_NOFAIL: Final = 0x8000
GFP_NORETRY: Final = 0x10000
GFP_MEMALLOC: Final = 0x20000
GFP_COMP: Final = 0x40000
GFP_NOMEMALLOC: Final = 0x80000
GFP_HARDWALL: Final = 0x100000
GFP_THISNODE: Final = 0x200000
GFP_ACCOUNT: Final = 0x400000
GFP_ZEROTAGS: Final = 0x800000

GFP_RECLAIM: Final = GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM
GFP_ATOMIC: Final = GFP_HIGH | GFP_ATOMIC_BIT | GFP_KSWAPD_RECLAIM
GFP_KERNEL: Final = GFP_RECLAIM | GFP_IO | GFP_FS
GFP_KERNEL_ACCOUNT: Final = GFP_KERNEL | GFP_ACCOUNT
GFP_NOWAIT: Final = GFP_KSWAPD_RECLAIM
GFP_NOIO: Final = GFP_RECLAIM
GFP_NOFS: Final = GFP_RECLAIM | GFP_IO
GFP_USER: Final = GFP_KERNEL | GFP_HARDWALL
GFP_HIGHUSER: Final = GFP_USER | GFP_HIGHMEM
GFP_HIGHUSER_MOVABLE: Final = GFP_HIGHUSER | GFP_MOVABLE
GFP_TRANSHUGE_LIGHT: Final = (
    GFP_HIGHUSER_MOVABLE | GFP_COMP | GFP_NOMEMALLOC | GFP_NOWARN
) & ~GFP_RECLAIM
GFP_TRANSHUGE: Final = GFP_TRANSHUGE_LIGHT | GFP_DIRECT_RECLAIM

PRINT_ORDER: Final[tuple[tuple[str, int], ...]] = (
    ("GFP_TRANSHUGE", GFP_TRANSHUGE),
    ("GFP_TRANSHUGE_LIGHT", GFP_TRANSHUGE_LIGHT),
    ("GFP_HIGHUSER_MOVABLE", GFP_HIGHUSER_MOVABLE),
    ("GFP_HIGHUSER", GFP_HIGHUSER),
    ("GFP_USER", GFP_USER),
    ("GFP_KERNEL_ACCOUNT", GFP_KERNEL_ACCOUNT),
    ("GFP_KERNEL", GFP_KERNEL),
    ("GFP_NOFS", GFP_NOFS),
    ("GFP_ATOMIC", GFP_ATOMIC),
    ("GFP_NOIO", GFP_NOIO),
    ("GFP_NOWAIT", GFP_NOWAIT),
    ("GFP_DMA", GFP_DMA),
    ("__GFP_HIGHMEM", GFP_HIGHMEM),
    ("GFP_DMA32", GFP_DMA32),
    ("__GFP_HIGH", GFP_HIGH),
    ("__GFP_ATOMIC", GFP_ATOMIC_BIT),
    ("__GFP_IO", GFP_IO),
    ("__GFP_FS", GFP_FS),
    ("__GFP_NOWARN", GFP_NOWARN),
    ("__GFP_RETRY_MAYFAIL", GFP_RETRY_MAYFAIL),
    ("__GFP_NOFAIL", GFP_NOFAIL),
    ("__GFP_NORETRY", GFP_NORETRY),
    ("__GFP_COMP", GFP_COMP),
    ("__GFP_ZERO", GFP_ZERO),
    ("__GFP_NOMEMALLOC", GFP_NOMEMALLOC),
    ("__GFP_MEMALLOC", GFP_MEMALLOC),
    ("__GFP_HARDWALL", GFP_HARDWALL),
    ("__GFP_THISNODE", GFP_THISNODE),
    ("__GFP_RECLAIMABLE", GFP_RECLAIMABLE),
    ("__GFP_MOVABLE", GFP_MOVABLE),
    ("__GFP_ACCOUNT", GFP_ACCOUNT),
    ("__GFP_WRITE", GFP_WRITE),
    ("__GFP_RECLAIM", GFP_RECLAIM),
    ("__GFP_DIRECT_RECLAIM", GFP_DIRECT_RECLAIM),
    ("__GFP_KSWAPD_RECLAIM", GFP_KSWAPD_RECLAIM),
    ("__GFP_ZEROTAGS", GFP_ZEROTAGS),
)
"""Every name the kernel prints, greediest first: the first that fits is taken out of the flags."""

FLAG_OF_NAME: Final = MappingProxyType(
    dict(PRINT_ORDER) | {"__GFP_DMA": GFP_DMA, "__GFP_DMA32": GFP_DMA32, "none": 0}
)


def gfp_to_text(flags: int) -> str:
    """Return flags as a trace event prints them: names joined by '|', a nameless rest in hex.

    Source: trace_print_flags_seq() in kernel/trace/trace_output.c, Linux 6.1.
    """
    if flags == 0:
        return "none"
    words: list[str] = []
    rest = flags
    for name, mask in PRINT_ORDER:
        if rest & mask == mask:
            words.append(name)
            rest &= ~mask
    if rest:
        words.append(f"{rest:#x}")
    return "|".join(words)


def gfp_from_text(text: str) -> int:
    """Return the flags that a text like 'GFP_KERNEL|__GFP_NOWARN|0x1000000' stands for.

    Raises ConfigError, naming the word, if a word is neither a flag's name nor a hexadecimal
    number.
    """
    flags = 0
    for word in text.split("|"):
        value = FLAG_OF_NAME.get(word.strip())
        flags |= _hex_rest(word.strip(), text) if value is None else value
    return flags


def may_sleep(gfp: int) -> bool:
    """Say whether a per-CPU request with these flags is not 'atomic': it may wait for memory.

    Source: pcpu_alloc() in mm/percpu.c, Linux 6.1: all bits of GFP_KERNEL must be there.
    """
    return gfp & GFP_KERNEL == GFP_KERNEL


def _hex_rest(word: str, text: str) -> int:
    digits = word.removeprefix("0x")
    if (
        word.startswith("0x")
        and digits
        and all(digit in "0123456789abcdefABCDEF" for digit in digits)
    ):
        return int(digits, 16)
    raise ConfigError(
        f"unknown GFP flag {word!r} in {text!r}: expected names like GFP_KERNEL or __GFP_ZERO "
        "joined by '|', a hexadecimal rest like 0x1000000, or 'none'"
    )
