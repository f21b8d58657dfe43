"""A delta goes through JSON and msgpack unchanged; anything else is refused with its place."""

from __future__ import annotations

import json
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import KernelSimError
from kernel_sim.machine_state import Parts
from snapshots.diff.delta_codec import NESTING_MAX, delta_from_builtin, delta_to_builtin
from snapshots.diff.state_delta import apply_delta, delta_of
from snapshots.errors import InputError
from snapshots.state_codec import encode_part
from tests.snapshots.conftest import mutated
from tests.snapshots.diff.test_state_delta import STATES


@settings(max_examples=200, deadline=None)
@given(STATES, STATES)
def test_a_delta_goes_through_json_and_msgpack(a: Parts, b: Parts) -> None:
    plain = delta_to_builtin(delta_of(a, b))
    for read in (json.loads(json.dumps(plain)), msgpack.unpackb(msgpack.packb(plain))):
        again = apply_delta(a, delta_from_builtin(read))
        assert {name: encode_part(part) for name, part in again.items()} == {
            name: encode_part(part) for name, part in b.items()
        }


@settings(max_examples=300, deadline=None)
@given(STATES, STATES, st.randoms(use_true_random=False))
def test_a_damaged_delta_is_refused_or_does_not_fit_or_does(
    a: Parts, b: Parts, random: object
) -> None:
    plain = mutated(delta_to_builtin(delta_of(a, b)), random)  # type: ignore[arg-type]
    with suppress(KernelSimError):
        apply_delta(a, delta_from_builtin(plain))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (7, "expected parts by name"),
        ({"log": ["swap", 1]}, "log: .*expected a list of 2"),
        ({"log": ["turn", 1]}, "log: 'turn'; expected swap, patch or edits"),
        ({"log": ["patch", [-1, "00", "01"]]}, "log: -1; expected an index"),
        ({"log": ["patch", [0, "0", "01"]]}, "log: '0'; expected bytes in hex"),
        ({"log": ["edits", "row", ["splice", 0, 0, 1, []]]}, "log: 1; expected a list"),
        ({"log": ["swap", 1, ["map", [["row"], 1]]]}, "expected a text or number as a key"),
    ],
)
def test_what_is_no_delta_is_refused_with_its_place(changed: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        delta_from_builtin({"born": {}, "died": {}, "changed": changed})


def test_nesting_has_a_limit() -> None:
    value: object = 1
    for _ in range(NESTING_MAX + 2):
        value = ["row", value]
    with pytest.raises(InputError, match="nested deeper"):
        delta_from_builtin({"born": {"log": value}, "died": {}, "changed": {}})
