"""One machine for each system, alike in all but its per-CPU memory.

    base machine      CPUs, nodes, memory, TLBs, the size of the static section
      + a system      its name, its switches, and of the base's [percpu] keys those that it takes

A system is named as in the catalogue, with switches behind it where it shall not be as it usually is:
`chunk-2009:stage=v1`. One that cannot be on the base machine has no machine, and a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import CATALOGUE, DEFAULT_SYSTEM
from kernel_sim.percpu.options import Option, OptionValue
from kernel_sim.percpu.system_entry import SystemEntry

USUAL_MACHINE: Mapping[str, object] = {
    "name": "two nodes, four CPUs",
    "kernel": {"nr_cpus": 32},
    "cpus": {"possible": "0-3"},
    "memory": {"pages": "modern"},
    "node": [{"cpus": "0-1", "memory_mib": 256}, {"cpus": "2-3", "memory_mib": 256}],
    "percpu": {"static_bytes": 17892},  # of a kernel of 2006, which every system has room for
}
ONE_GROUP = {"distance_fn": False}
"""What makes all CPUs one group, for a system that serves no more."""
PLACES = ("group_phys",)  # where one system's memory was, not another's
TRUTHS = {"true": True, "false": False}


class ChosenSystem(NamedTuple):
    """A system with its switches; label is what the user wrote."""

    label: str
    entry: SystemEntry
    options: dict[str, OptionValue]


def chosen_systems(names: str | None) -> tuple[ChosenSystem, ...]:
    """Return the systems of a list with commas, or all. Raises ConfigError for one there is not."""
    if names is None:
        return tuple(ChosenSystem(name, entry, {}) for name, entry in CATALOGUE.items())
    chosen = tuple(_chosen(label.strip()) for label in names.split(","))
    labels = [each.label for each in chosen]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"--systems: {twice} twice; expected each once, or with other switches")
    return chosen


def machine_of(system: ChosenSystem, base: Mapping[str, object], where: str) -> MachineConfig:
    """Return the base machine with a system in it. Raises ConfigError if that cannot be."""
    given = base.get("percpu", {})
    old: Mapping[str, object] = given if isinstance(given, Mapping) else {}
    is_own = CATALOGUE.get(str(old.get("system", DEFAULT_SYSTEM))) is system.entry
    taken = [key for key in old if key in ("static_bytes", *system.entry.keys)]
    percpu = {key: old[key] for key in taken if is_own or key not in PLACES}
    switches = dict(cast("Mapping[str, object]", old.get("options", {}))) if is_own else {}
    percpu["system"] = system.entry.name
    if switches or system.options:
        percpu["options"] = switches | system.options
    return MachineConfig.from_mapping(
        {**base, "percpu": percpu, "work": {"mode": "auto"}}, where=where
    )


def with_one_group(system: ChosenSystem, base: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the base machine with all CPUs in one group; None if it says itself how it groups them."""
    given = base.get("percpu", {})
    old: Mapping[str, object] = given if isinstance(given, Mapping) else {}
    key = next(iter(ONE_GROUP))
    if key in old or key not in system.entry.keys:
        return None
    return {**base, "percpu": {**old, **ONE_GROUP}}


def _chosen(label: str) -> ChosenSystem:
    name, *settings = label.split(":")
    entry = CATALOGUE.get(name)
    if entry is None:
        raise ConfigError(f"--systems: no system {name!r}; expected some of {', '.join(CATALOGUE)}")
    options: dict[str, OptionValue] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        option = next((each for each in entry.options if each.key == key), None)
        if option is None:
            keys = ", ".join(each.key for each in entry.options) or "none"
            raise ConfigError(f"--systems: {name} has no switch {key!r}; expected {keys}")
        options[key] = _value(option, text, label)
    return ChosenSystem(label, entry, options)


def _value(option: Option, text: str, label: str) -> OptionValue:
    """Return a switch's value as its default's type has it; the machine's description checks the rest."""
    if isinstance(option.default, bool):
        if text not in TRUTHS:
            raise ConfigError(f"--systems: {label}: {option.key} is true or false, not {text!r}")
        return TRUTHS[text]
    if isinstance(option.default, int):
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ConfigError(f"--systems: {label}: {option.key} is a number, not {text!r}")
        return int(text)
    return text
