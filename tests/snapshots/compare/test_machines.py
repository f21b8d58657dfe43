"""One machine for each system, alike but for its per-CPU memory."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import CATALOGUE
from snapshots.compare.machines import USUAL_MACHINE, ChosenSystem, chosen_systems, machine_of


def base_of(**percpu: object) -> Mapping[str, object]:
    return {**USUAL_MACHINE, "percpu": percpu}


def test_all_systems_are_chosen_unless_told() -> None:
    assert [each.label for each in chosen_systems(None)] == list(CATALOGUE)


def test_systems_are_chosen_by_name() -> None:
    assert [each.entry.name for each in chosen_systems("bitmap")] == ["bitmap"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("bitmp", "no system 'bitmp'; expected some of "),
        ("", "no system ''"),
        ("bitmap,bitmap", "bitmap twice"),
        ("bitmap:stage=v1", "bitmap has no switch 'stage'; expected none"),
    ],
)
def test_a_wrong_list_is_refused(names: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen_systems(names)
    assert said in str(caught.value)


def test_the_machines_are_alike_but_for_the_system() -> None:
    of = {}
    for system in chosen_systems(None):
        if "x86-64" in system.entry.arches:
            config = machine_of(system, USUAL_MACHINE, "test")
            assert config.percpu.system == system.entry.name
            assert config.percpu.static_bytes == 17892
            mapping = config.to_mapping()
            del mapping["percpu"]
            of[system.label] = mapping
    first = next(iter(of.values()))
    assert all(mapping == first for mapping in of.values())


def test_what_the_base_says_of_its_own_system_is_kept() -> None:
    (bitmap,) = chosen_systems("bitmap")
    config = machine_of(bitmap, base_of(static_bytes=8192, reserved_bytes=4096), "test")
    assert (config.percpu.static_bytes, config.percpu.reserved_bytes) == (8192, 4096)
    placed = machine_of(bitmap, base_of(group_phys=["0x400000", "0x12000000"]), "test")
    assert placed.percpu.group_phys


def test_where_another_systems_memory_was_is_not_taken_over() -> None:
    (bitmap,) = chosen_systems("bitmap")
    base = base_of(system="another", group_phys=["0x400000", "0x12000000"], options={"stage": "v1"})
    config = machine_of(bitmap, base, "test")
    assert not config.percpu.group_phys
    assert not config.percpu.options


def test_background_work_runs_by_itself() -> None:
    (bitmap,) = chosen_systems("bitmap")
    config = machine_of(bitmap, {**USUAL_MACHINE, "work": {"mode": "scripted"}}, "test")
    assert config.work_mode == "auto"


def test_a_switch_gets_the_type_of_its_default() -> None:
    for entry in CATALOGUE.values():
        for option in entry.options:
            text = option.choices[-1] if option.choices else str(option.default).lower()
            (system,) = chosen_systems(f"{entry.name}:{option.key}={text}")
            assert type(system.options[option.key]) is type(option.default)
            if isinstance(option.default, int):
                with pytest.raises(ConfigError, match=f"{option.key} is "):
                    chosen_systems(f"{entry.name}:{option.key}=perhaps")


def test_a_system_keeps_what_was_written() -> None:
    assert chosen_systems("bitmap")[0] == ChosenSystem("bitmap", CATALOGUE["bitmap"], {})
