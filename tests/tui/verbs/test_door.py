from __future__ import annotations

from pathlib import Path

import pytest

from kernel_sim.errors import ConfigError
from tui.verbs.door import DEMO, check_output, example, open_session


def test_the_example_machine_is_opened_when_no_file_is_named() -> None:
    session = open_session(None)
    assert session.name == "numa2-4cpu"
    assert session.step == 0


def test_examples_are_found_and_others_are_refused() -> None:
    assert example(DEMO).is_file()
    with pytest.raises(ConfigError, match=r"the example none\.kms is not installed"):
        example(Path("none.kms"))


def test_what_is_read_is_never_written_to(tmp_path: Path) -> None:
    one, other = tmp_path / "one.kms", tmp_path / "other.kms"
    one.write_bytes(b"evidence")
    check_output(other, [one])
    (tmp_path / "link.kms").symlink_to(one)
    with pytest.raises(ConfigError, match="this is what is read"):
        check_output(tmp_path / "link.kms", [one])
