from __future__ import annotations

import pytest

from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError


def machine(**tables: object) -> MachineConfig:
    """Return four CPUs on two nodes of 64 MiB, but for what tables say."""
    nodes = [{"cpus": "0-1", "memory_mib": 64}, {"cpus": "2-3", "memory_mib": 64}]
    mapping = {"name": "m", "cpus": {"possible": "0-3"}, "node": nodes}
    return MachineConfig.from_mapping(mapping | tables, where="m.toml")


def test_the_release_decides_sizes_and_the_levels_decide_vmalloc_space() -> None:
    config = machine(kernel={"version": "6.12", "page_table_levels": 5})
    assert (config.percpu.static_bytes, config.kernel.dyn_early_bytes) == (233472, 20480)
    assert machine().kernel.dyn_early_bytes == 12288
    assert (config.vmalloc.start, config.vmalloc.end) == (0xFFA0000000000000, 0xFFD1FFFFFFFFFFFF)


def test_vmalloc_space_ends_with_the_last_byte_of_a_page() -> None:
    config = machine(vmalloc={"start": 1 << 63, "end": (1 << 63) + 4095})
    assert config.vmalloc.total_bytes == 4095


def test_online_is_part_of_present_is_part_of_possible() -> None:
    cpus = machine(cpus={"possible": "0-3", "present": "0,2-3", "online": "0,3"}).cpus
    assert (cpus.possible, cpus.present, cpus.online) == ((0, 1, 2, 3), (0, 2, 3), (0, 3))
    cpus = machine(cpus={"possible": "0-3", "present": "0-1"}).cpus
    assert cpus.online == (0, 1)


def test_distances_may_differ_by_direction() -> None:
    assert machine(numa={"distances": [[10, 11], [255, 10]]}).distances == ((10, 11), (255, 10))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"kernel": {"version": "6.2"}}, "[kernel] version: '6.2' (did you mean '6.12'?); "
         "expected one of '6.1', '6.12'"),
        ({"kernel": {"nr_cpus": 8193}}, "[kernel] nr_cpus: 8193; expected a whole number from 1"),
        ({"kernel": {"page_table_levels": 3}}, "[kernel] page_table_levels: 3; expected"),
        ({"kernel": []}, "m.toml: [kernel]: []; expected a table"),
        ({"cpus": {}}, 'm.toml: [cpus] possible: missing; expected a CPU list such as "0-3"'),
        ({"cpus": {"possible": ""}}, "m.toml: [cpus] possible: no CPU; expected a CPU list"),
        ({"cpus": {"possible": 4}}, "m.toml: [cpus] possible: 4; expected a text"),
        ({"cpus": {"possible": "0-x"}}, "m.toml: [cpus] possible: '0-x': '0-x' is no CPU"),
        ({"cpus": {"possible": "0-3"}, "kernel": {"nr_cpus": 2}},
         "[cpus] possible: '0-3': CPU 3; expected CPUs below 2"),
        ({"cpus": {"possible": "0-3", "present": "0-4"}},
         "[cpus] present: CPU 4 not in possible; expected a part of it"),
        ({"cpus": {"possible": "0-3", "present": "0-1", "online": "0-3"}},
         "[cpus] online: CPU 2-3 not in present; expected a part of it"),
        ({"cpus": {"possible": "0-3", "online": ""}}, "[cpus] online: no CPU"),
        ({"cpus": {"possible": "0-3", "online": "1-3"}}, "[cpus] online: CPU 0 is missing"),
        ({"numa": {"distance": []}}, "[numa] distance: unknown key (did you mean 'distances'?)"),
        ({"numa": {"distances": [[10, 20]]}}, "[numa] distances: 1 rows; expected 2, one a node"),
        ({"numa": {"distances": [[10, 20], [20]]}}, "[numa] distances: row 1 is [20]; expected 2"),
        ({"numa": {"distances": [10, 20]}}, "[numa] distances: row 0 is 10; expected 2"),
        ({"numa": {"distances": [[10, 20], [20, 11]]}}, "distances: node 1 to 1: 11; expected 10"),
        ({"numa": {"distances": [[10, 10], [20, 10]]}},
         "distances: node 0 to 1: 10; expected 11 to 255"),
        ({"numa": {"distances": [[10, 256], [20, 10]]}}, "node 0 to 1: 256; expected 11 to 255"),
        ({"percpu": {"system": "bitmp"}}, "[percpu] system: 'bitmp' (did you mean 'bitmap'?)"),
        ({"percpu": {"backend": "vmm"}}, "[percpu] backend: 'vmm'"),
        ({"percpu": {"first_chunk": "embedded"}}, "(did you mean 'embed'?)"),
        ({"percpu": {"free_hint": 1}}, "[percpu] free_hint: 1; expected a text"),
        ({"percpu": {"static_bytes": 0}}, "[percpu] static_bytes: 0; expected a whole number"),
        ({"percpu": {"reserved_bytes": -4}}, "[percpu] reserved_bytes: -4; expected"),
        ({"percpu": {"reserved_bytes": 5}}, "reserved_bytes: 5; expected a multiple of 4 bytes"),
        ({"percpu": {"dynamic_bytes": 1.5}}, "[percpu] dynamic_bytes: 1.5; expected"),
        ({"percpu": {"atom_bytes": 2048}}, "[percpu] atom_bytes: 2048; expected a whole number"),
        ({"percpu": {"atom_bytes": 12288}}, "atom_bytes: 12288; expected a power of two"),
        ({"percpu": {"distance_fn": 1}}, "[percpu] distance_fn: 1; expected true or false"),
        ({"percpu": {"static_byte": 1}}, "[percpu] static_byte: unknown key (did you mean"),
        ({"percpu": {"first_chunk": "page", "dynamic_bytes": 28672}},
         '[percpu] dynamic_bytes: not for first_chunk = "page"'),
        ({"percpu": {"first_chunk": "page", "distance_fn": True}}, "[percpu] distance_fn: not for"),
        ({"percpu": {"first_chunk": "page", "atom_bytes": 8192}}, "[percpu] atom_bytes: not for"),
        ({"percpu": {"first_chunk": "page", "group_phys": [0]}}, "[percpu] group_phys: not for"),
        ({"percpu": {"group_phys": ["0x0", "x"]}}, "[percpu] group_phys: 'x'; expected an address"),
        ({"percpu": {"group_phys": 5}}, "[percpu] group_phys: 5; expected a list"),
        ({"vmalloc": {"start": "0x1000"}}, "[vmalloc] start: 0x1000; expected a kernel address"),
        ({"vmalloc": {"start": "0xffffc90000000001"}}, "[vmalloc] start: 0xffffc90000000001;"),
        ({"vmalloc": {"end": "0xffffe90000000000"}}, "[vmalloc] end: 0xffffe90000000000; expected"),
        ({"vmalloc": {"end": "0xffffc8ffffffffff"}}, "expected the last byte of a page above"),
        ({"schedule": {"policy": "rondom"}}, "(did you mean 'random'?)"),
        ({"schedule": {"seed": 1 << 64}}, "[schedule] seed: 18446744073709551616; expected"),
    ],
)  # fmt: skip
def test_a_bad_section_is_refused(tables: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        machine(**tables)
    assert str(caught.value).startswith("m.toml: ")
    assert message in str(caught.value)
