from __future__ import annotations

import pytest

from kernel_sim.config_table import ConfigTable
from kernel_sim.errors import ConfigError
from kernel_sim.percpu.options import Option, option_values, read_options

OPTIONS = (
    Option("stage", ".32", "which kernel", choices=("mail", "v1", ".32")),
    Option("room_bytes", 32768, "room", lowest=4096, highest=65536),
    Option("posted", False, "as posted"),
)


def table(values: dict[str, object]) -> ConfigTable:
    return ConfigTable("x.toml", "[percpu.options]", values, tuple(o.key for o in OPTIONS))


def test_only_what_differs_from_the_default_is_kept() -> None:
    assert read_options(table({"stage": ".32", "posted": True}), OPTIONS) == (("posted", True),)
    assert read_options(table({}), OPTIONS) == ()


def test_every_switch_has_a_value() -> None:
    assert option_values(OPTIONS, (("stage", "v1"),)) == {
        "stage": "v1", "room_bytes": 32768, "posted": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"stage": "v2"}, "stage: 'v2'.*; expected one of 'mail', 'v1', '.32'"),
        ({"room_bytes": 1}, "room_bytes: 1; expected a whole number from 4096 to 65536"),
        ({"posted": 1}, "posted: 1; expected"),
        ({"stagg": "v1"}, "unknown key .did you mean 'stage'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=r"x.toml: \[percpu.options\] .*" + text):
        read_options(table(values), OPTIONS)
