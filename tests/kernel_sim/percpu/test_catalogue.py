from __future__ import annotations

import ast
from pathlib import Path

import pytest

from kernel_sim.config import MachineConfig
from kernel_sim.errors import ConfigError
from kernel_sim.percpu.catalogue import CATALOGUE, DEFAULT_SYSTEM, ENTRIES, system_entry

ROOT = Path(__file__).parents[3]


def test_every_name_stands_once() -> None:
    assert len(CATALOGUE) == len(ENTRIES)
    assert system_entry(DEFAULT_SYSTEM).name == "bitmap"


def test_every_file_of_a_system_is_in_the_catalogue() -> None:
    files = (ROOT / "kernel_sim" / "percpu" / "systems").glob("*.py")
    named = {path.stem for path in files if "ENTRY = " in path.read_text(encoding="utf-8")}
    assert named == {entry.name.replace("-", "_") for entry in ENTRIES}


def test_nobody_outside_the_catalogue_asks_which_system_it_is() -> None:
    """Which system a machine has shows in what it does: no comparison with a system's name."""
    broken = []
    for package in ("kernel_sim", "snapshots", "tui"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Compare):
                    sides = (node.left, *node.comparators)
                    texts = [each.value for each in sides if isinstance(each, ast.Constant)]
                    if any(text in CATALOGUE for text in texts):
                        broken += [f"{path.relative_to(ROOT)}:{node.lineno}"]
    assert not broken


def test_an_unknown_system_is_refused_with_those_that_are_there() -> None:
    node = {"cpus": "0", "memory_mib": 256}
    mapping = {
        "name": "x", "cpus": {"possible": "0"}, "node": [node], "percpu": {"system": "bitmop"}
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"'bitmop' .did you mean 'bitmap'"):
        MachineConfig.from_mapping(mapping, where="x.toml")
