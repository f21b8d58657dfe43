"""Parts of keyframes held against what parts look like: every true one passes, every mutation is named."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from kernel_sim.machine_state import dump_parts
from kernel_sim.mm.gfp import GFP_KERNEL
from snapshots.errors import RecordingError
from snapshots.part_shapes import SHAPES, check_part
from snapshots.state_codec import decode_part, encode_part
from tests.kernel_sim.whole_machines import KINDS, Whole
from tests.snapshots.conftest import mutated


def busy_machine(kind: str) -> Whole:
    whole = Whole(kind, nr_online=3)
    whole.call("alloc_pages", 0, GFP_KERNEL, -1)
    whole.load("exporter", "init: a = pcpu_alloc 64 8\nexit: free_percpu a")
    whole.call("kmalloc_node", 100, GFP_KERNEL, 1)
    whole.call("vmalloc", 20000)
    whole.call("cpu_up", 3)
    whole.knob("fail_page_alloc", "nth=900 caller=vmalloc")
    whole.knob("cpuhp_fail", 2, 180)
    whole.alloc(4000)
    return whole


def parts_of(whole: Whole) -> dict[str, object]:
    return {
        name: decode_part(encode_part(part)) for name, part in dump_parts(whole.machine).items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_a_true_machine_has_its_shape(kind: str) -> None:
    parts = parts_of(busy_machine(kind))
    for name, part in parts.items():
        check_part(name, part)
    assert {"slab", "modules", "cpus", "page_lists"} <= set(parts)
    assert {name.partition(".")[0] for name in parts} <= set(SHAPES)


@pytest.mark.parametrize(
    ("name", "part", "text"),
    [
        ("calls.", (), None),
        ("nonsense", (), "no machine has such a part"),
        ("tables", (1, "2"), "1: '2'; expected a number"),
        ("tables", [1], "expected a list"),
        ("held_pages", ((5, 11),), "0: 1: 11; expected a number from 0 to 10"),
        ("held_pages", ((5, True),), "True; expected"),
        ("held_pages", ((5,),), "expected a row of 2"),
        ("frame.7", "text", "expected bytes"),
        ("log", ((6, b"x"),), "expected a text"),
        ("cpus", (((0, 1, 0, 0),), (), ()), "true or false"),
        ("slab", {"profile": "modern"}, "expected profile, cache_line_bytes"),
        ("fixmap", {"start": 0, "end": 1, "ranges": ((1, 2, 3),)}, "ranges: 0: 2: 3; expected a text"),
        ("vmalloc", {"start": -1}, "expected start, end"),
        ("page_lists", {"profile": 5}, "expected profile, arch"),
        ("tlb.0", {"profile": "x", "by_sets": 0}, "expected profile, by_sets"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(name: str, part: object, text: str | None) -> None:
    if text is None:
        check_part(name, part)
        return
    with pytest.raises(RecordingError) as refused:
        check_part(name, part)
    assert text in str(refused.value) and name.partition(".")[0] in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_mutation_keeps_the_types_or_is_refused() -> None:
    parts: dict[str, Any] = parts_of(busy_machine("x86-64"))
    names = [name for name in parts if not name.startswith(("frame.", "chunk."))]
    chance = random.Random(1)
    nr_refused = 0
    for _ in range(400):
        name = chance.choice(names)
        plain = msgpack.unpackb(encode_part(parts[name]), strict_map_key=False)
        try:
            check_part(name, decode_part(encode_part(mutated(plain, chance))))
        except (RecordingError, OverflowError):
            nr_refused += 1
    assert nr_refused > 150
