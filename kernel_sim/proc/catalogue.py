"""All files that the simulated kernel prints, by name: as text, and as rows for --json.

text_of(machine, "buddyinfo")      what cat /proc/buddyinfo shows
builtin_of(machine, "buddyinfo")   the same rows as dicts and lists
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from kernel_sim.machine import Machine
from kernel_sim.proc.boot_memory import boot_memory_rows, boot_memory_text
from kernel_sim.proc.buddyinfo import buddyinfo_rows, buddyinfo_text
from kernel_sim.proc.figures import to_builtin
from kernel_sim.proc.iomem import iomem_rows, iomem_text
from kernel_sim.proc.kallsyms import kallsyms_rows, kallsyms_text
from kernel_sim.proc.meminfo import meminfo_rows, meminfo_text
from kernel_sim.proc.modules import modules_rows, modules_text
from kernel_sim.proc.pagetypeinfo import pagetypeinfo_rows, pagetypeinfo_text
from kernel_sim.proc.percpu_stats import percpu_stats_rows, percpu_stats_text
from kernel_sim.proc.vmallocinfo import vmallocinfo_rows, vmallocinfo_text
from kernel_sim.proc.zoneinfo import each_zone_row, zoneinfo_rows, zoneinfo_text


class Listing(NamedTuple):
    """One file: how its rows are made from a machine, and how they are printed.

    The text of a file with addresses takes the number of their digits besides. each: the same rows one by
    one, where all at once are too many for a screen.
    """

    path: str
    rows: Callable[[Machine], Any]
    text: Callable[..., str]
    has_addresses: bool = False
    each: Callable[[Machine], Iterator[Any]] | None = None


LISTINGS = {
    "buddyinfo": Listing("/proc/buddyinfo", buddyinfo_rows, buddyinfo_text),
    "zoneinfo": Listing("/proc/zoneinfo", zoneinfo_rows, zoneinfo_text, each=each_zone_row),
    "pagetypeinfo": Listing("/proc/pagetypeinfo", pagetypeinfo_rows, pagetypeinfo_text),
    "vmallocinfo": Listing("/proc/vmallocinfo", vmallocinfo_rows, vmallocinfo_text, True),
    "meminfo": Listing("/proc/meminfo", meminfo_rows, meminfo_text),
    "modules": Listing("/proc/modules", modules_rows, modules_text, True),
    "kallsyms": Listing("/proc/kallsyms", kallsyms_rows, kallsyms_text, True),
    "iomem": Listing("/proc/iomem", iomem_rows, iomem_text),
    "percpu_stats": Listing("/sys/kernel/debug/percpu_stats", percpu_stats_rows, percpu_stats_text),
    "boot_memory": Listing("dmesg", boot_memory_rows, boot_memory_text),
}


def text_of(machine: Machine, name: str) -> str:
    """Return a file as the machine's kernel prints it now; KeyError for a name that is none."""
    listing = LISTINGS[name]
    if listing.has_addresses:
        return listing.text(listing.rows(machine), 2 * machine.arch.word_bytes)
    return listing.text(listing.rows(machine))


def builtin_of(machine: Machine, name: str) -> object:
    """Return the rows of a file as builtin types; KeyError for a name that is none."""
    return to_builtin(LISTINGS[name].rows(machine))
