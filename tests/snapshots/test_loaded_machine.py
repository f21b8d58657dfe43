from __future__ import annotations

import pytest

from kernel_sim.boot import boot
from kernel_sim.errors import InvariantBroken
from snapshots.loaded_machine import check_loaded
from tests.snapshots.conftest import BUSY, recorded, small_config


def test_a_machine_of_ours_is_sound_at_boot_and_after_work() -> None:
    check_loaded(boot(small_config(cpus=2)))
    check_loaded(recorded(small_config(cpus=4), BUSY).machine)


def test_areas_that_overlap_are_found() -> None:
    machine = recorded(small_config(cpus=4), BUSY).machine
    machine.vmalloc.areas.append(machine.vmalloc.areas[0])
    with pytest.raises(InvariantBroken):
        check_loaded(machine)
