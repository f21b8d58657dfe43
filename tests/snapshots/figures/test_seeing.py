"""Commands name files of the examples. That they show the figures is tested with the rows."""

from __future__ import annotations

from snapshots.figures.seeing import boot_log, script, show


def test_commands_are_command_lines() -> None:
    machine = "examples/figures/legacy-2cpu.toml"
    assert show("legacy-2cpu", "account") == f"kmemscope show {machine} account"
    assert script("one", "legacy-2cpu") == f"kmemscope script examples/figures/one.txt {machine}"
    assert boot_log("legacy-2cpu") == f"kmemscope boot {machine}"
