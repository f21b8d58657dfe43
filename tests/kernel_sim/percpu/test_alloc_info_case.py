from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.alloc_info_case import (
    ERA_2_6_34,
    alloc_info_result,
    first_chunk_result,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "percpu-bitmap"

CASE: dict[str, object] = {
    "cpu_node": [0, None, 1],
    "distance_fn": True,
    "static_size": 4096,
    "reserved_size": 0,
    "dyn_size": 0,
    "atom_size": 4096,
}


def golden_lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(GOLDEN / name, "rt") as lines:
        return [json.loads(line) for line in lines]


def test_every_recorded_topology_gets_the_recorded_layout() -> None:
    cases = [line for line in golden_lines("c01-alloc-info.jsonl.gz") if "input" in line]
    assert len(cases) == 72
    for case in cases:
        assert alloc_info_result(case["input"]) == case["result"], case["input"]


HEADERS = golden_lines("../percpu-headers.jsonl.gz")


@pytest.mark.parametrize("header", HEADERS, ids=[header["scenario"] for header in HEADERS])
def test_a_recorded_header_follows_from_its_inputs(header: dict[str, Any]) -> None:
    config = header["config"]
    result = first_chunk_result(config)
    assert len(result) == 13
    assert result == {key: config[key] for key in result}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cpu_node": []}, "case 3: input cpu_node: no CPU"),
        ({"cpu_node": [None]}, "case 3: input cpu_node: no CPU"),
        ({"cpu_node": [0, "a"]}, "cpu_node: CPU 1: 'a'; expected a node below 1024 or null"),
        ({"cpu_node": [True]}, "cpu_node: CPU 0: True; expected a node"),
        ({"cpu_node": [1024]}, "cpu_node: CPU 0: 1024; expected a node"),
        ({"cpu_node": 4}, "cpu_node: 4; expected a list"),
        ({"atom_size": 12288}, "atom_size: 12288; expected a power of two"),
        ({"atom_size": 2048}, "atom_size: 2048; expected a whole number from 4096"),
        ({"static_size": 0}, "static_size: 0; expected a whole number from 1"),
        ({"dyn_size": -1}, "dyn_size: -1; expected a whole number from 0"),
        ({"distance_fn": None}, "distance_fn: missing"),
        ({"distance": 1}, "distance: unknown key (did you mean 'distance_fn'?)"),
    ],
)
def test_a_bad_case_is_refused(change: dict[str, object], message: str) -> None:
    assert alloc_info_result(CASE)["groups"] == [[0], [2]]
    with pytest.raises(ConfigError) as caught:
        alloc_info_result(CASE | change, where="case 3")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nr_cpus": 3}, "config cpu_node: 2 CPUs; expected nr_cpus = 3"),
        ({"backend": "xm"}, "config backend: 'xm'"),
        ({"first_chunk": 1}, "config first_chunk: 1; expected a text"),
    ],
)
def test_a_bad_header_is_refused(change: dict[str, object], message: str) -> None:
    config = HEADERS[0]["config"] | {"cpu_node": [0, 1], "nr_cpus": 2}
    assert first_chunk_result(config)["groups"] == [[0], [1]]
    with pytest.raises(ConfigError) as caught:
        first_chunk_result(config | change)
    assert message in str(caught.value)


def test_an_era_has_its_own_rules_for_the_dynamic_part() -> None:
    """2.6.34 knows "auto" and keeps units at 64 KiB; 6.1 refuses a negative size."""
    case = CASE | {"dyn_size": -1}
    assert alloc_info_result(case, era=ERA_2_6_34)["unit_size"] == 65536
    with pytest.raises(ConfigError, match="dyn_size"):
        alloc_info_result(case)
