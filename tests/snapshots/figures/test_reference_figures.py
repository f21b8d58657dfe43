"""References are those that a CPU makes: code that goes another way is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.percpu.protocol import Load
from kernel_sim.percpu.systems.block_2005 import BlockSystem
from kernel_sim.percpu.systems.legacy_static import LegacyStaticSystem
from kernel_sim.percpu.systems.rostedt_2006_modules import RostedtModulesSystem
from snapshots.figures import reference_figures as references
from snapshots.figures.bench import Bench
from snapshots.figures.figure import Figure
from snapshots.figures.inputs import AS_MAILED

Way = Callable[..., int]


def longer(way: Way) -> Way:
    """Return a way that reads one word more than it needs."""

    def go(self: object, load: Load, cpu: int, ptr: int, *owner: int) -> int:
        addr = way(self, load, cpu, ptr, *owner)
        load(addr, 4)
        return addr

    return go


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (references.static_area, 2),
        (references.pointer_array, 2),
        (references.block, 1),
        (references.offset_pointer, 3),
        (references.all_in_vm, 1),
        (references.hybrid, 2),
        (references.chunk, 2),
        (references.km_chunk, 2),
        (references.bitmap, 2),
        (references.one_less, 1),
    ],
)
def test_what_each_access_costs(measure: Callable[[Bench], Figure], expected: int) -> None:
    figure = measure(Bench(AS_MAILED))
    assert (figure.ours, figure.is_measured_right) == (expected, True)


@pytest.mark.parametrize("measure", [references.static_area, references.pointer_array])
def test_one_load_more_in_the_old_code_is_noticed(
    measure: Callable[[Bench], Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LegacyStaticSystem, "per_cpu", longer(LegacyStaticSystem.per_cpu))
    assert not measure(Bench(AS_MAILED)).is_measured_right


def test_one_load_more_in_blocks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockSystem, "per_cpu", longer(BlockSystem.per_cpu))
    assert references.block(Bench(AS_MAILED)).ours == 2


def test_a_missing_load_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(self: RostedtModulesSystem, load: Load, cpu: int, ptr: int, owner: int) -> int:
        addr = self.copy_addr(ptr, owner)
        assert addr is not None
        return addr

    monkeypatch.setattr(RostedtModulesSystem, "per_cpu", known)
    assert references.offset_pointer(Bench(AS_MAILED)).ours == 1


def test_counting_leaves_the_run_as_it_is() -> None:
    figure = references.static_area(Bench(AS_MAILED))
    assert figure.run is not None
    assert list(figure.run.machine.tlbs[0].entries()) == []
