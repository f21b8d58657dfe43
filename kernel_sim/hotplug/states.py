"""The steps by which a CPU comes up, in order, and who does each of them.

      0  offline
      |  prepare    on the CPU that asked; may sleep and fail; undone by its counterpart
      |  starting   on the CPU that comes, interrupts off; must not fail
      ▼  online     on the CPU that comes, in its own thread; may fail
    235  online

Going down is the same table backwards. Numbers and names are those of /sys/devices/system/cpu/hotplug/states
of a Debian 6.1 kernel as far as this machine has something to do there; "ours" marks the others.
Source: include/linux/cpuhotplug.h and kernel/cpu.c, Linux 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CPUHP_OFFLINE: Final = 0
PREPARE: Final = "prepare"
STARTING: Final = "starting"
ONLINE: Final = "online"


@dataclass(frozen=True, slots=True)
class HotplugState:
    """One step: its number, who does it, what is called on the way up and on the way down ("" nothing)."""

    number: int
    name: str
    section: str
    startup: str
    teardown: str


STATES: Final = (
    HotplugState(1, "threads:prepare", PREPARE, "smpboot_create_threads", "smpboot_free_threads"),
    HotplugState(11, "workqueue:prepare", PREPARE, "workqueue_prepare_cpu", ""),
    HotplugState(36, "mm/page_alloc:pcp", PREPARE, "page_alloc_cpu_online", "page_alloc_cpu_dead"),
    HotplugState(
        60, "mm/percpu:prepare", PREPARE, "pcpu_cpu_prepare", "pcpu_cpu_dead"
    ),  # ours: the per-CPU system is told
    HotplugState(86, "cpu:bringup", PREPARE, "bringup_cpu", "finish_cpu"),
    HotplugState(
        88, "x86/tlb:starting", STARTING, "cpu_init", "tlb_dying"
    ),  # ours: base register and an empty TLB
    HotplugState(91, "sched:starting", STARTING, "sched_cpu_starting", "sched_cpu_dying"),
    HotplugState(145, "cpu:teardown", ONLINE, "", "takedown_cpu"),
    HotplugState(147, "smpboot:threads", ONLINE, "smpboot_unpark_threads", "smpboot_park_threads"),
    HotplugState(180, "workqueue:online", ONLINE, "workqueue_online_cpu", "workqueue_offline_cpu"),
    HotplugState(184, "mm/vmstat:online", ONLINE, "vmstat_cpu_online", "vmstat_cpu_down_prep"),
    HotplugState(234, "sched:active", ONLINE, "sched_cpu_activate", "sched_cpu_deactivate"),
)
CPUHP_ONLINE: Final = 235
BRINGUP: Final = 86
TEARDOWN: Final = 145
STATE_OF_NUMBER: Final = {state.number: state for state in STATES}


def between(low: int, high: int) -> tuple[HotplugState, ...]:
    """Return the steps above low up to high, ascending."""
    return tuple(state for state in STATES if low < state.number <= high)
