"""All files by name, as text and as builtin types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_sim.proc.catalogue import LISTINGS, builtin_of, text_of


@pytest.mark.parametrize("name", LISTINGS)
def test_each_file_ends_its_last_line_and_has_json(name: str, small_kernel: Any) -> None:
    machine = small_kernel().machine
    text = text_of(machine, name)
    assert not text or text.endswith("\n")
    found = builtin_of(machine, name)
    assert json.loads(json.dumps(found)) == found


def test_printing_changes_nothing(small_kernel: Any) -> None:
    kernel = small_kernel()
    before = kernel.fresh_parts()
    for name in LISTINGS:
        text_of(kernel.machine, name)
    assert kernel.fresh_parts() == before


def test_the_same_machine_prints_the_same(small_kernel: Any) -> None:
    one, other = small_kernel(), small_kernel()
    for kernel in (one, other):
        kernel.use_up_ready_space()
    assert [text_of(one.machine, name) for name in LISTINGS] == [
        text_of(other.machine, name) for name in LISTINGS
    ]
