"""Slab classes: the sizes that kmalloc rounds up to, and how many objects a slab of each holds.

    2.6.20    32  64 (96) 128 (192) 256 512 … 131072      96 and 192 where a cache line is shorter
    modern     8  16  32  64  96  128  192  256 … 8192    larger requests take whole pages

    slab of 2^order pages, on-slab management as 2.6.20 has it for small objects:
    | struct slab, next-free numbers | object 0 | object 1 | …  | rest |
                                     ^ first_offset_bytes

Management kept apart (2.6.20's large objects) takes no simulated memory; cache colouring is not
modelled.
Source: mm/slab.c: cache_estimate(), calculate_slab_order(), and linux/kmalloc_sizes.h, 2.6.20;
mm/slub.c: calculate_order(), set_min_partial(), and mm/slab_common.c, Linux 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel_sim.alignment import align_up, is_power_of_two
from kernel_sim.errors import ConfigError
from kernel_sim.mm.buddy import MAX_PAGE_ORDER
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.zone import ARCH_I386, ARCH_X86_64

SLAB_2_6_20: Final = "2.6.20"
SLAB_MODERN: Final = "modern"
SLAB_PROFILES: Final = (SLAB_2_6_20, SLAB_MODERN)

_LARGEST_2_6_20 = 131072
_LARGEST_MANY_CPUS = 262144
_MANY_CPUS = 512
_LARGEST_MODERN = 8192
_OFF_SLAB_BYTES = PAGE_SIZE_BYTES >> 3
_STRUCT_SLAB_BYTES = {ARCH_I386: 28, ARCH_X86_64: 48}
_BUFCTL_BYTES = 4
_BREAK_ORDER = 1  # of a machine with more than 32 MiB
_SLUB_MAX_ORDER = 3


@dataclass(frozen=True, slots=True)
class SlabClass:
    """One size; min_partial: so many slabs with free objects stay on a node, empty or not."""

    name: str
    size_bytes: int
    order: int
    first_offset_bytes: int
    min_partial: int

    def nr_objects(self, order: int) -> int:
        """Return the objects of a slab of 2^order pages."""
        return ((PAGE_SIZE_BYTES << order) - self.first_offset_bytes) // self.size_bytes

    @property
    def min_order(self) -> int:
        """The lowest order that holds an object."""
        return order_of(self.first_offset_bytes + self.size_bytes)


def slab_classes(
    profile: str, *, cache_line_bytes: int = 64, nr_cpus: int = 1, arch: str = ARCH_X86_64
) -> tuple[SlabClass, ...]:
    """Return the classes, small ones first.

    nr_cpus: of the kernel's build (2.6.20: more than 512 add a class), or of the machine (modern:
    more CPUs want more objects a slab). Raises ConfigError for a profile or a line nobody has.
    """
    if profile not in SLAB_PROFILES:
        raise ConfigError(f"slab {profile!r}: expected one of {', '.join(SLAB_PROFILES)}")
    if not is_power_of_two(cache_line_bytes) or not 16 <= cache_line_bytes <= 256:
        raise ConfigError(
            f"a cache line of {cache_line_bytes} bytes: expected a power of two from 16 to 256"
        )
    if profile == SLAB_2_6_20:
        largest = _LARGEST_MANY_CPUS if nr_cpus > _MANY_CPUS else _LARGEST_2_6_20
        sizes = _doubling(32, largest)
        sizes += ([96] if cache_line_bytes < 64 else []) + ([192] if cache_line_bytes < 128 else [])
        return tuple(_class_2_6_20(size, cache_line_bytes, arch) for size in sorted(sizes))
    sizes = [*_doubling(8, _LARGEST_MODERN), 96, 192]
    return tuple(_class_modern(size, nr_cpus) for size in sorted(sizes))


def order_of(size_bytes: int) -> int:
    """Return the lowest order whose block holds so many bytes. Source: get_order()."""
    return (max(size_bytes, 1) - 1 >> 12).bit_length()


def _doubling(first: int, last: int) -> list[int]:
    return [1 << shift for shift in range(first.bit_length() - 1, last.bit_length())]


def _class_2_6_20(size_bytes: int, cache_line_bytes: int, arch: str) -> SlabClass:
    line_bytes = cache_line_bytes
    while size_bytes <= line_bytes // 2:  # small objects share a line
        line_bytes //= 2
    object_bytes = align_up(size_bytes, line_bytes)
    name = f"size-{size_bytes}"
    for order in range(MAX_PAGE_ORDER + 1):
        first_offset_bytes = _management_bytes(object_bytes, order, line_bytes, arch)
        slab = SlabClass(name, object_bytes, order, first_offset_bytes, min_partial=1)
        nr_objects = slab.nr_objects(order)
        rest_bytes = (PAGE_SIZE_BYTES << order) - first_offset_bytes - nr_objects * object_bytes
        if nr_objects and (order >= _BREAK_ORDER or rest_bytes * 8 <= PAGE_SIZE_BYTES << order):
            return slab
    raise ConfigError(f"no slab holds an object of {size_bytes} bytes")


def _management_bytes(object_bytes: int, order: int, line_bytes: int, arch: str) -> int:
    """Return what struct slab and the numbers of all objects take in front of them."""
    if object_bytes >= _OFF_SLAB_BYTES:
        return 0
    slab_bytes, struct_bytes = PAGE_SIZE_BYTES << order, _STRUCT_SLAB_BYTES[arch]
    nr_objects = (slab_bytes - struct_bytes) // (object_bytes + _BUFCTL_BYTES)
    while True:
        head_bytes = align_up(struct_bytes + nr_objects * _BUFCTL_BYTES, line_bytes)
        if head_bytes + nr_objects * object_bytes <= slab_bytes:
            return head_bytes
        nr_objects -= 1


def _class_modern(size_bytes: int, nr_cpus: int) -> SlabClass:
    short = f"{size_bytes >> 10}k" if size_bytes >= 1024 else str(size_bytes)
    min_partial = min(max((size_bytes.bit_length() - 1) // 2, 5), 10)
    return SlabClass(
        f"kmalloc-{short}", size_bytes, _slub_order(size_bytes, nr_cpus), 0, min_partial
    )


def _slub_order(size_bytes: int, nr_cpus: int) -> int:
    """Return the order with enough objects and little waste. Source: calculate_order()."""
    nr_wanted = 4 * (max(nr_cpus, 1).bit_length() + 1)
    nr_wanted = min(nr_wanted, (PAGE_SIZE_BYTES << _SLUB_MAX_ORDER) // size_bytes)
    while nr_wanted > 1:
        for fraction in (16, 8, 4):
            for order in range(order_of(nr_wanted * size_bytes), _SLUB_MAX_ORDER + 1):
                slab_bytes = PAGE_SIZE_BYTES << order
                if slab_bytes % size_bytes <= slab_bytes // fraction:
                    return order
        nr_wanted -= 1
    return order_of(size_bytes)
