from __future__ import annotations

from itertools import pairwise

import pytest

from kernel_sim.percpu.stretch import DYNAMIC, FREE, SHARED, Stretch
from tests.tui.system_sessions import EVERY, busy_session_of
from tui.debugger.strips import StripIndex, copies_of, find_stretch, names_of


def index_of(*stretches: Stretch) -> StripIndex:
    class System:
        def stretches(self) -> list[Stretch]:
            return list(stretches)

    class Machine:
        system = System()

    return StripIndex.of(Machine())  # type: ignore[arg-type]


def test_strips_are_read_no_further_than_somebody_looks() -> None:
    nr_made = []

    class System:
        def stretches(self):  # type: ignore[no-untyped-def]
            for number in range(1000):
                nr_made.append(number)
                yield Stretch(f"area of cpu {number}", number * 100, 100, FREE, "free", number)

    class Machine:
        system = System()

    index = StripIndex.of(Machine())  # type: ignore[arg-type]
    index.read_strips(3)
    assert len(index.strips) == 3 and len(nr_made) <= 4
    assert not index.complete
    index.read_some(50)
    assert len(nr_made) <= 60
    assert len(index.read_all()) == 1000 and index.complete


def test_a_strip_knows_its_pieces_and_whose_it_is() -> None:
    index = index_of(
        Stretch("block 0, cpu 1", 0x1000, 64, DYNAMIC, "a", 1, 9, 2),
        Stretch("block 0, cpu 1", 0x1040, 32, DYNAMIC, "b", 1, 10, 2),
        Stretch("block 0, cpu 1", 0x1060, 160, FREE, "free", 1, node=2),
        Stretch("both", 0x3000, 8, FREE, "x", 1, node=0),
        Stretch("both", 0x3008, 8, FREE, "y", 2, node=1),
    )
    one, both = index.read_all()
    assert (one.group, one.short_name, one.cpu, one.node) == ("block 0", "cpu 1", 1, 2)
    assert (one.addr, one.size_bytes, one.end) == (0x1000, 256, 0x1100)
    assert [one.stretch_at(at).what for at in (0, 63, 64, 95, 96, 255)] == [
        "a", "a", "b", "b", "free", "free",
    ]  # fmt: skip
    assert one.parities == (1, 0, 0)
    assert one.bytes_by_kind() == {DYNAMIC: 96, FREE: 160}
    assert (both.group, both.cpu, both.node) == ("", SHARED, -1)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("chunk 2, unit of cpu 1", ("chunk 2", "unit of cpu 1")),
        ("area of cpu 12", ("area", "area of cpu 12")),
        ("pcpu_size[]", ("", "pcpu_size[]")),
    ],
)
def test_a_name_tells_the_group(name: str, names: tuple[str, str]) -> None:
    assert names_of(name) == names


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_stretches_of_every_system_lie_end_to_end_in_strips_of_their_own(
    system: str, arch: str
) -> None:
    """What the map, whatis and the account rely on."""
    machine = busy_session_of(system, arch).machine
    strips = StripIndex.of(machine).read_all()
    assert len({strip.name for strip in strips}) == len(strips)
    for strip in strips:
        at = strip.addr
        for stretch in strip.stretches:
            assert stretch.size_bytes > 0, strip.name
            assert stretch.addr == at, strip.name
            at = stretch.end
    taken = sorted((strip.addr, strip.end, strip.name) for strip in strips)
    for one, other in pairwise(taken):
        assert one[1] <= other[0], (one, other)


@pytest.mark.parametrize(("system", "arch"), EVERY)
def test_every_copy_of_an_area_is_found_at_its_address(system: str, arch: str) -> None:
    machine = busy_session_of(system, arch).machine
    areas = list(machine.system.live_areas())
    assert areas
    for ptr, _ in areas:
        copies = copies_of(machine, ptr, 99)
        assert [cpu for cpu, _ in copies] == [0, 1, 2, 3]
        for cpu, addr in copies:
            found = find_stretch(machine, addr)
            assert found is not None
            assert (found.addr, found.kind, found.cpu, found.ptr) == (addr, DYNAMIC, cpu, ptr)
    assert copies_of(machine, areas[0][0], 2) == copies_of(machine, areas[0][0], 99)[:2]
    assert find_stretch(machine, 0x10) is None
