"""Parts that are left out while they are as boot made them: absent, present, back again."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.machine_state import check_cache, dump_parts, load_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.optional_parts import OPTIONAL_PARTS, TLB_PREFIX, is_same, stale_part
from tests.kernel_sim.whole_machines import KINDS, Whole

NAMES = [part.name for part in OPTIONAL_PARTS]


def optional(parts: dict[str, object]) -> list[str]:
    return [name for name in parts if name in NAMES or name.startswith(TLB_PREFIX)]


def touch(whole: Whole, name: str) -> None:
    """Change one part, by the way in which it is changed."""
    if name == "page_lists":
        whole.knob("fail_page_alloc", "nth=100")
    elif name == "slab":
        whole.call("kmalloc_node", 64, GFP_KERNEL, 0)
    elif name == "held_pages":
        whole.call("alloc_pages", 0, GFP_KERNEL, 0)
    elif name in ("modules", "module_space"):
        whole.load("counter")
    elif name == "fixmap":
        machine = whole.machine
        machine.fixmap.reserve_indices(4, "unit")
    elif name == "cpus":
        whole.call("cpu_down", 3)
    else:
        whole.machine.access.read(
            int(name.removeprefix(TLB_PREFIX)), whole.machine.percpu.base_addr, 8
        )


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_machine_just_booted_has_none(kind: str) -> None:
    assert optional(dump_parts(Whole(kind).machine)) == []


def test_plain_machines_keep_leaving_them_out() -> None:
    """So recordings made before these parts existed keep their digests."""
    whole = Whole("x86-64-plain")
    whole.use_up_ready_space()
    whole.call("free_percpu", whole.alloc(9000))
    assert optional(dump_parts(whole.machine)) == []


@pytest.mark.parametrize("name", [*NAMES, "tlb.0", "tlb.3"])
def test_a_part_appears_when_it_changes_and_goes_when_it_is_as_at_boot(name: str) -> None:
    whole = Whole()
    start = dump_parts(whole.machine)
    touch(whole, name)
    after = dump_parts(whole.machine)
    assert name in after
    assert stale_part(whole.machine) is None
    assert after == whole.fresh_parts()
    load_parts(whole.machine, start)
    assert dump_parts(whole.machine) == start == whole.fresh_parts()
    load_parts(whole.machine, after)
    assert dump_parts(whole.machine) == after == whole.fresh_parts()
    check_cache(whole.machine)
    whole.check()


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_moment_of_a_life_can_be_gone_to_in_any_order(kind: str) -> None:
    whole = Whole(kind)
    moments = [dump_parts(whole.machine)]
    for step in ("slab", "held_pages", "modules", "cpus", "page_lists"):
        touch(whole, step)
        moments.append(dump_parts(whole.machine))
    order = [3, 0, 5, 2, 4, 1, 5, 0]
    for number in order:
        load_parts(whole.machine, moments[number])
        assert dump_parts(whole.machine) == moments[number] == whole.fresh_parts()
        whole.check()
    other = Whole(kind)
    load_parts(other.machine, moments[-1])
    assert dump_parts(other.machine) == moments[-1]
    assert other.machine.online_cpus() == (0, 1, 2)
    other.check()
    assert other.call("cpu_up", 3) == 0 and other.call("delete_module", "counter") == 0
    other.check()


def test_an_unchanged_part_is_the_same_object() -> None:
    whole = Whole()
    touch(whole, "slab")
    before = dump_parts(whole.machine)
    whole.call("this_cpu_read", 64, 4, cpu=2)
    after = dump_parts(whole.machine)
    assert after["slab"] is before["slab"]
    assert after["tlb.2"] != before.get("tlb.2")


@pytest.mark.parametrize("damage", ["slab", "tlb.0", "modules"])
def test_a_change_that_is_not_owned_up_to_is_found(damage: str) -> None:
    whole = Whole()
    machine: Any = whole.machine
    for name in ("slab", "tlb.0", "modules"):
        touch(whole, name)
    dump_parts(machine)
    if damage == "slab":
        next(iter(machine.slab.slabs.values())).nr_used += 1
    elif damage == "modules":
        machine.modules.modules[0].refcnt += 1
    else:
        machine.tlbs[0].counters.misses += 1
    assert stale_part(machine) == damage
    with pytest.raises(InvariantBroken, match=f"part {damage} changed without saying so"):
        check_cache(machine)


@pytest.mark.parametrize("name", ["tlb.4", "tlb.x", "tlb.-1"])
def test_a_tlb_of_a_cpu_that_is_not_there_is_refused(name: str) -> None:
    whole = Whole()
    touch(whole, "tlb.0")
    parts = dump_parts(whole.machine)
    with pytest.raises(KernelBug, match=name):
        load_parts(whole.machine, parts | {name: parts["tlb.0"]})


def test_pages_at_fixed_addresses_come_back() -> None:
    whole = Whole()
    start = dump_parts(whole.machine)
    machine = whole.machine
    fixed = machine.fixmap.reserve_indices(2, "probe")
    machine.fixmap.check_invariants()
    after = dump_parts(machine)
    load_parts(machine, start)
    assert machine.fixmap.ranges != after["fixmap"]
    load_parts(machine, after)
    assert dump_parts(machine) == after and fixed is not None
    assert PAGE_KERNEL


def test_a_part_from_a_file_is_the_same_as_the_dump_it_came_from() -> None:
    dump: dict[str, object] = {"rows": [(1, [2, 3])], "name": "a"}
    assert is_same(dump, {"rows": ((1, (2, 3)),), "name": "a"})
    assert not is_same(dump, {"rows": ((1, (3, 2)),), "name": "a"})
    assert not is_same(dump, {"name": "a", "rows": ((1, (2, 3)),)})  # order is part of the state
