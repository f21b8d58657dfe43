from __future__ import annotations

import shlex

import pytest

from tui.debugger.commands.catalogue import ALL, GROUPS, REGISTRY
from tui.debugger.console import complete
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_every_command_has_help_and_completes(session: Session, tell) -> None:
    for name, command in REGISTRY.items():
        lines = tell(f"help {shlex.quote(name)}").lines
        assert lines[0] == command.usage and command.help in lines[1]
        assert name in complete(session, name)


def test_help_lists_every_command_once(tell) -> None:
    lines = tell("help").lines
    for command in dict.fromkeys(REGISTRY.values()):
        assert sum(line.strip().startswith(f"{command.usage} ") for line in lines) == 1


def test_no_two_commands_share_a_name_and_each_stands_under_a_heading() -> None:
    names = [name for command in ALL for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names)) == len(REGISTRY)
    assert {command.group for command in ALL} == set(GROUPS)


def test_help_of_an_alias_is_that_of_its_command(tell) -> None:
    assert tell("help dmesg").lines == tell("help log").lines
    assert tell("help dmesg").lines[-1].strip() == "also: dmesg"
    with pytest.raises(CommandError, match="there is no command 'nix'"):
        tell("help nix")
