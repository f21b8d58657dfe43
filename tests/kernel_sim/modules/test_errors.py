from __future__ import annotations

import errno

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.modules import errors


def test_a_format_error_is_the_users_and_names_the_place() -> None:
    with pytest.raises(ConfigError, match=r"^section \[3\] \.text, file offset 0x40: too long$"):
        raise errors.format_error("section [3] .text", 0x40, "too long")


@pytest.mark.parametrize(
    "name",
    ["ENOENT", "ENOEXEC", "EAGAIN", "EWOULDBLOCK", "ENOMEM", "EBUSY", "EEXIST", "EINVAL"],
)
def test_numbers_are_those_of_linux(name: str) -> None:
    assert getattr(errors, name) == getattr(errno, name)
