from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError, InvariantBroken, KernelBug
from snapshots.blame import blamed_on_file
from snapshots.errors import RecordingError


@pytest.mark.parametrize("problem", [KernelBug("no such chunk"), InvariantBroken("no such chunk")])
def test_a_state_that_cannot_be_is_the_files_fault(problem: Exception) -> None:
    found = blamed_on_file(problem, 7)
    assert isinstance(found, RecordingError)
    assert str(found) == "step 7: the recording holds a state that cannot be: no such chunk"


def test_a_python_error_is_named_with_its_type() -> None:
    found = blamed_on_file(KeyError("x"), 7)
    assert isinstance(found, RecordingError)
    assert "what no machine can do or be: KeyError: 'x'" in str(found)


def test_who_says_it_already_is_left_alone() -> None:
    for problem in (ConfigError("x"), RecordingError("y")):
        assert blamed_on_file(problem, 7) is problem
