"""Parts of a machine's state that are left out while they are as boot made them.

    page_lists     pages on CPUs' lists, counters by zone, what shall fail
    slab           slabs and their objects
    held_pages     pages that alloc_pages() calls keep
    modules        loaded modules
    module_space   areas in the module space, where it is not vmalloc space
    fixmap         pages mapped at fixed addresses
    cpus           who is online, how far each CPU has come up, nodes that are not there yet
    tlb.N          one CPU's TLB

Because an untouched part is absent, a recording made before it existed has the same digests as then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple, TypeAlias, cast

from kernel_sim.errors import KernelBug
from kernel_sim.machine import Machine
from kernel_sim.mm.fixmap import Fixmap
from kernel_sim.mm.tlb import Tlb
from kernel_sim.mm.vmalloc import VmallocSpace
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.modules.module import LIVE
from kernel_sim.same_state import is_same

Parts: TypeAlias = dict[str, object]
TLB_PREFIX = "tlb."


class OptionalPart(NamedTuple):
    """How one part comes out and goes in; version differs whenever it may have changed."""

    name: str
    version: Callable[[Machine], object]
    dump: Callable[[Machine], object]
    load: Callable[[Machine, Any], None]


def _load_lists(machine: Machine, part: object) -> None:
    """Nothing: machine_state.py restores the page allocator as a whole."""


def _load_slab(machine: Machine, part: Any) -> None:
    machine.slab.restore(part)


def _dump_held(machine: Machine) -> object:
    return tuple(machine.held_pages.items())


def _load_held(machine: Machine, part: Any) -> None:
    machine.held_pages = dict(part)


def _modules_version(machine: Machine) -> object:
    """A module on its way in or out changes at any step."""
    loader = machine.modules
    on_its_way = any(module.state != LIVE for module in loader.modules)
    return (loader.version, machine.step if on_its_way else -1)


def _load_modules(machine: Machine, part: Any) -> None:
    loaded = ModuleLoader.load(machine.modules.host, part)
    machine.modules.modules, machine.modules.leaks = loaded.modules, loaded.leaks
    machine.modules.init_free = loaded.init_free
    machine.modules.version += 1
    machine.modules.loading.clear()


def _dump_module_space(machine: Machine) -> object:
    return None if machine.module_space is machine.vmalloc else machine.module_space.dump()


def _load_module_space(machine: Machine, part: Any) -> None:
    if part is not None:
        assume(machine.module_space, VmallocSpace.load(part))


def _load_fixmap(machine: Machine, part: Any) -> None:
    machine.fixmap.ranges = Fixmap.load(part).ranges


def _dump_cpus(machine: Machine) -> object:
    return (
        tuple(
            (number, cpu.online, cpu.hotplug_state, cpu.stack_pfn)
            for number, cpu in machine.cpus.items()
        ),
        tuple(machine.offline_nodes),
        machine.hotplug_fail or (),
    )


def _load_cpus(machine: Machine, part: Any) -> None:
    rows, offline_nodes, fail = part
    for number, online, hotplug_state, stack_pfn in rows:
        cpu = machine.cpus[number]
        cpu.online, cpu.hotplug_state, cpu.stack_pfn = online, hotplug_state, stack_pfn
    machine.offline_nodes = dict.fromkeys(offline_nodes)
    machine.hotplug_fail = (fail[0], fail[1]) if fail else None


OPTIONAL_PARTS = (
    OptionalPart(
        "page_lists",
        lambda machine: machine.pages.version,
        lambda machine: machine.pages.dump_lists(),
        _load_lists,
    ),
    OptionalPart(
        "slab",
        lambda machine: machine.slab.version,
        lambda machine: machine.slab.dump(),
        _load_slab,
    ),
    OptionalPart("held_pages", _dump_held, _dump_held, _load_held),
    OptionalPart(
        "modules",
        _modules_version,
        lambda machine: machine.modules.dump(),
        _load_modules,
    ),
    OptionalPart(
        "module_space",
        lambda machine: machine.module_space.version,
        _dump_module_space,
        _load_module_space,
    ),
    OptionalPart(
        "fixmap",
        lambda machine: len(machine.fixmap.ranges),
        lambda machine: machine.fixmap.dump(),
        _load_fixmap,
    ),
    OptionalPart("cpus", _dump_cpus, _dump_cpus, _load_cpus),
)


def assume(target: Any, source: Any) -> None:
    """Make target hold what source holds, so that others keep their reference; version grows on."""
    version = target.version + 1
    for slot in fields(source):
        setattr(target, slot.name, getattr(source, slot.name))
    target.version = version


def remember_boot(machine: Machine) -> None:
    """Take note of what the parts are like at boot: what equals this is left out."""
    machine.boot_parts = {part.name: part.dump(machine) for part in OPTIONAL_PARTS}
    for tlb in machine.tlbs.values():
        machine.boot_parts[TLB_PREFIX] = tlb.dump()
        return


def dump_optional(machine: Machine, parts: Parts) -> None:
    """Add the parts that are not as boot left them; the same object as before if unchanged."""
    cache = machine.part_cache
    for part in OPTIONAL_PARTS:
        version = f"version.{part.name}"
        now = part.version(machine)
        if version not in cache or cache[version] != now:
            cache[version] = now
            _keep(cache, part.name, part.dump(machine), machine.boot_parts[part.name])
        if part.name in cache:
            parts[part.name] = cache[part.name]
    for cpu, tlb in machine.tlbs.items():
        if tlb.version:
            name = f"{TLB_PREFIX}{cpu}"
            version = f"version.{name}"
            if cache.get(version) != tlb.version:
                cache[version] = tlb.version
                _keep(cache, name, tlb.dump(), machine.boot_parts[TLB_PREFIX])
            if name in cache:
                parts[name] = cache[name]


def _keep(cache: Parts, name: str, dump: object, at_boot: object) -> None:
    if dump == at_boot:
        cache.pop(name, None)
    else:
        cache[name] = dump


def load_optional(machine: Machine, parts: Parts) -> None:
    """Bring the parts to the dumped moment; absent ones to what boot made. Touches what differs."""
    cache = machine.part_cache
    for part in OPTIONAL_PARTS:
        is_current = cache.get(f"version.{part.name}") == part.version(machine)
        if not is_current or cache.get(part.name) is not parts.get(part.name):
            part.load(machine, parts.get(part.name, machine.boot_parts[part.name]))
    for cpu, tlb in machine.tlbs.items():
        name = f"{TLB_PREFIX}{cpu}"
        is_current = cache.get(f"version.{name}", 0) == tlb.version
        if not is_current or cache.get(name) is not parts.get(name):
            state = parts.get(name, machine.boot_parts[TLB_PREFIX])
            machine.tlbs[cpu] = loaded = Tlb.load(cast("Any", state))
            loaded.version = tlb.version + 1
    _check_tlb_names(machine, parts)


def note_versions(machine: Machine) -> None:
    """Take note that what the cache holds now is what the machine is like."""
    cache = machine.part_cache
    for part in OPTIONAL_PARTS:
        cache[f"version.{part.name}"] = part.version(machine)
    for cpu, tlb in machine.tlbs.items():
        if tlb.version:
            cache[f"version.{TLB_PREFIX}{cpu}"] = tlb.version


def stale_part(machine: Machine) -> str | None:
    """Return the first part that changed though its version did not, None if all are honest."""
    cache = machine.part_cache
    for part in OPTIONAL_PARTS:
        at_boot = machine.boot_parts[part.name]
        if cache.get(f"version.{part.name}") == part.version(machine) and not is_same(
            cache.get(part.name, at_boot), part.dump(machine)
        ):
            return part.name
    for cpu, tlb in machine.tlbs.items():
        name = f"{TLB_PREFIX}{cpu}"
        held = cache.get(name, machine.boot_parts[TLB_PREFIX])
        if cache.get(f"version.{name}", 0) == tlb.version and not is_same(held, tlb.dump()):
            return name
    return None


def _check_tlb_names(machine: Machine, parts: Parts) -> None:
    for name in parts:
        if name.startswith(TLB_PREFIX):
            number = name.removeprefix(TLB_PREFIX)
            if not number.isdecimal() or int(number) not in machine.tlbs:
                raise KernelBug(f"part {name!r}: this machine has no such TLB")
