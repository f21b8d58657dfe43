"""How many bytes, in as few letters as say it exactly."""

from __future__ import annotations

UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def size_text(nr_bytes: int) -> str:
    """Return 4 B, 16 KiB, 2 MiB: the largest unit of which it is a whole number."""
    for factor, name in UNITS:
        if nr_bytes >= factor and nr_bytes % factor == 0:
            return f"{nr_bytes // factor} {name}"
    return f"{nr_bytes} B"


def short_size(nr_bytes: int) -> str:
    """Return 0, 64K, 1M: the same without blanks, for an axis."""
    return size_text(nr_bytes).replace(" B", "").replace(" ", "").replace("iB", "")
