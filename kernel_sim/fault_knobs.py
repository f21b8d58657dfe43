"""Knobs that make a healthy kernel fail: page allocations and steps of CPU hotplug.

    fail_page_alloc "nth=3 caller=pcpu_alloc_pages"    the fourth such request fails
    fail_page_alloc "probability=10 times=5"           by the machine's own generator
    fail_page_alloc ""                                 off
    cpuhp_fail      5 180                              step 180 of CPU 5 fails once, with -EAGAIN

Names and meanings are those of debugfs' fail_page_alloc and of /sys/devices/system/cpu/cpuN/hotplug/fail.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from kernel_sim.config_table import close_match, shown
from kernel_sim.errors import ConfigError
from kernel_sim.hotplug.states import STARTING, STATES
from kernel_sim.mm.fault_injection import FaultInjection, FaultSettings
from kernel_sim.random_state import RandomState

if TYPE_CHECKING:
    from kernel_sim.machine import Machine

FAULT_STREAM = 1
TEXT_CHARS_MAX = 400
NUMBER_DIGITS_MAX = 9
SETTING_NAMES = tuple(each.name for each in fields(FaultSettings))
FLAGS = ("ignore_gfp_highmem", "ignore_gfp_wait")


def fail_page_alloc(machine: Machine, cpu: int, text: str) -> None:
    """Let page allocations fail by these settings from now on, or no longer for an empty text."""
    if not text:
        machine.pages.set_fault(None)
        return
    wanted = parse_fault_settings(text)
    seed = machine.scheduler.random.next_u32()
    random = RandomState.from_seed(seed, stream=FAULT_STREAM)
    machine.pages.set_fault(FaultInjection(wanted, random))


def cpuhp_fail(machine: Machine, cpu: int, for_cpu: int, state: int) -> None:
    """Let one step of a CPU's coming up or going down fail once; state 0: none.

    A starting step cannot fail: there is no way back from it on the CPU that comes.
    Source: write_cpuhp_fail(), Linux 6.1.
    """
    if for_cpu not in machine.cpus:
        raise ConfigError(f"there is no CPU {for_cpu}")
    may_fail = [each.number for each in STATES if each.section != STARTING]
    if state and state not in may_fail:
        known = ", ".join(map(str, may_fail))
        raise ConfigError(f"hotplug step {state}; expected one of {known}, or 0 for none")
    machine.hotplug_fail = (for_cpu, state) if state else None


def parse_fault_settings(text: str) -> FaultSettings:
    """Return the settings that a text such as "nth=3 caller=vmalloc" stands for. Raises ConfigError."""
    if len(text) > TEXT_CHARS_MAX:
        raise ConfigError(f"fault settings of {len(text)} characters; expected {TEXT_CHARS_MAX}")
    values: dict[str, int | bool | str] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        name = name.replace("-", "_")
        if name not in SETTING_NAMES:
            hint = close_match(name, SETTING_NAMES)
            listed = ", ".join(SETTING_NAMES)
            raise ConfigError(f"fault setting {shown(word)}{hint}; expected name=value of {listed}")
        values[name] = value if name == "caller" else _number(name, value)
    return FaultSettings(**values)  # type: ignore[arg-type]


def _number(name: str, value: str) -> int | bool:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= NUMBER_DIGITS_MAX):
        raise ConfigError(f"fault setting {name}: {shown(value)}; expected a whole number")
    return bool(int(value)) if name in FLAGS else int(value)
