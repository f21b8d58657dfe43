from __future__ import annotations

import pytest

from kernel_sim.errors import KernelFault, KernelSimError
from snapshots.errors import InputError
from tui.debugger.console import execute
from tui.debugger.errors import CommandError
from tui.debugger.session import Session


def test_a_wrong_command_is_neither_a_fault_of_the_kernel_nor_of_a_file() -> None:
    assert issubclass(CommandError, KernelSimError)
    assert not issubclass(CommandError, KernelFault | InputError)


async def test_whatever_a_command_meets_comes_out_as_a_command_error(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError("x.kms: byte 7: torn")

    monkeypatch.setattr("tui.debugger.session.saving_tree", refuse)
    with pytest.raises(CommandError, match=r"save: x\.kms: byte 7: torn"):
        await execute(session, "save x.kms")
