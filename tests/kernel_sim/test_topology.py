from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError
from kernel_sim.topology import (
    NUMA_NO_NODE,
    Topology,
    default_distances,
    format_cpu_list,
    parse_cpu_list,
)

FOUR_NODES = Topology(
    possible=(0, 1, 2, 5),
    present=(0, 1, 2),
    online=(0, 1),
    node_of_cpu=(0, 0, 1, NUMA_NO_NODE, NUMA_NO_NODE, 3),
    distances=((10, 15, 21, 31), (16, 10, 25, 21), (21, 25, 10, 15), (31, 21, 15, 10)),
    nodes=(0, 1, 2, 3),
)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", ()),
        ("0", (0,)),
        ("0-3,8", (0, 1, 2, 3, 8)),
        (" 8 , 0-1 ", (0, 1, 8)),
        ("5-5", (5,)),
    ],
)
def test_a_list_names_cpus_and_ranges(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0-3,x", "'x' is no CPU"),
        ("0,,1", "'' is no CPU"),
        ("-1", "'-1' is no CPU"),
        ("1-", "'1-' is no CPU"),
        ("1-2-3", "'1-2-3' is no CPU"),
        ("٣", "is no CPU"),
        ("3-1", 'goes down; expected "1-3"'),
        ("0-3,2", "CPU 2 twice"),
        ("8192", "CPU 8192; expected CPUs below 8192"),
        ("0-999999999", "CPU 999999999; expected CPUs below 8192"),
        ("0-99999999999999999999", "is no CPU"),
    ],
)
def test_a_bad_list_is_refused_with_its_bad_piece(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_cpu_list(text)
    assert problem in str(caught.value)


def test_neighbours_are_joined_when_a_list_is_written() -> None:
    assert format_cpu_list((8, 0, 1, 3, 2, 10)) == "0-3,8,10"
    assert format_cpu_list(()) == ""


@given(st.frozensets(st.integers(0, 8191), max_size=200))
def test_a_list_survives_being_written_and_read(cpus: frozenset[int]) -> None:
    assert parse_cpu_list(format_cpu_list(cpus)) == tuple(sorted(cpus))


def test_ids_count_up_to_the_highest_cpu_and_node() -> None:
    assert (FOUR_NODES.nr_cpu_ids, FOUR_NODES.nr_node_ids) == (6, 4)


def test_a_node_has_its_possible_cpus() -> None:
    cpus = [FOUR_NODES.cpus_of_node(node) for node in FOUR_NODES.nodes]
    assert cpus == [(0, 1), (2,), (), (5,)]


def test_cpus_are_as_far_apart_as_their_nodes_and_the_way_back_may_differ() -> None:
    assert FOUR_NODES.distance(0, 1) == 10
    assert (FOUR_NODES.distance(1, 2), FOUR_NODES.distance(2, 1)) == (15, 16)
    assert FOUR_NODES.distance(5, 0) == 31


def test_nearest_nodes_come_first_and_ties_go_to_the_lower_number() -> None:
    assert FOUR_NODES.nodes_by_distance(3) == (3, 2, 1, 0)
    flat = Topology((0,), (0,), (0,), (0,), default_distances(3), (0, 1, 2))
    assert flat.nodes_by_distance(1) == (1, 0, 2)


def test_without_a_table_other_nodes_are_all_at_20() -> None:
    assert default_distances(2) == ((10, 20), (20, 10))
