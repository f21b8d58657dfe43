"""Each in a process of its own: what is tested ends the process it happens in."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tui.interrupt import LINE, ends_on_interrupt, interruptible, is_command

ROOT = Path(__file__).parents[2]
BEGIN = "import os, signal, sys\nfrom tui import interrupt\n"
STRIKE = "os.kill(os.getpid(), signal.SIGINT)\n"


def run(*lines: str) -> tuple[int, bytes, bytes]:
    """Run a program with an interrupt in it; returns exit code, stdout, stderr."""
    program = BEGIN + "".join(lines)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_an_interrupt_ends_the_process_in_one_line() -> None:
    code, out, err = run("interrupt.end_on_interrupt()\n", STRIKE, "print('went on')\n")
    assert (code, out, err) == (130, b"", b"kmemscope: interrupted\n")
    assert err == LINE


def test_work_is_interrupted_by_an_exception_and_can_put_things_in_order() -> None:
    code, out, err = run(
        "interrupt.end_on_interrupt()\n",
        "def work():\n    try:\n        os.kill(os.getpid(), signal.SIGINT)\n",
        "    finally:\n        print('in order', flush=True)\n",
        "try:\n    interrupt.interruptible(work)\n",
        "except KeyboardInterrupt:\n    print('told', flush=True)\n",
        STRIKE,
    )
    assert (code, out.split(), err) == (130, [b"in", b"order", b"told"], LINE)


def test_an_interrupt_that_a_destructor_swallows_is_not_lost() -> None:
    code, out, err = run(
        "class Dying:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n",
        "        for _ in range(10): pass\n",
        "interrupt.end_on_interrupt()\n",
        "interrupt.interruptible(Dying)\n",
        "def work():\n    Dying()\n    print('went on', flush=True)\n",
        "interrupt.interruptible(work)\n",
    )
    assert (code, out, err) == (130, b"", LINE)


def test_other_trouble_in_a_destructor_is_told_as_ever() -> None:
    code, _, err = run(
        "interrupt.end_on_interrupt()\n",
        "class Dying:\n    def __del__(self):\n        raise LookupError('lost')\n",
        "Dying()\n",
    )
    assert code == 0 and b"LookupError: lost" in err and LINE not in err


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    code, out, err = run(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n",
        "interrupt.end_on_interrupt()\n",
        STRIKE,
        "interrupt.interruptible(lambda: os.kill(os.getpid(), signal.SIGINT))\n",
        "print('went on')\n",
    )
    assert (code, out, err) == (0, b"went on\n", b"")


def test_when_all_is_done_an_interrupt_comes_too_late() -> None:
    code, out, err = run(
        "interrupt.end_on_interrupt()\ninterrupt.no_more_interrupts()\n", STRIKE, "print('done')\n"
    )
    assert (code, out, err) == (0, b"done\n", b"")


def test_while_the_command_is_loaded_an_interrupt_ends_it_in_one_line() -> None:
    code, out, err = run(
        "class Finder:\n    def find_spec(self, name, *_):\n",
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n",
        "sys.meta_path.insert(0, Finder())\n",
        "sys.argv[0] = '/usr/bin/kmemscope'\n",
        "import tui.cli\n",
    )
    assert (code, out, err) == (130, b"", LINE)


def test_a_program_that_imports_the_command_keeps_its_own_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    import tui.cli

    assert tui.cli.main
    assert signal.getsignal(signal.SIGINT) is before and not ends_on_interrupt()
    assert interruptible(lambda: signal.getsignal(signal.SIGINT)) is before


@pytest.mark.parametrize(
    ("program", "module", "known"),
    [
        ("/usr/bin/kmemscope", "tui.cli", True),
        ("C:\\Scripts\\kmemscope.exe", "tui.cli", True),
        ("x/tui/cli.py", "__main__", True),
        ("/usr/bin/pytest", "tui.cli", False),
        ("", "tui.cli", False),
    ],
)
def test_the_command_is_known_by_its_name_or_as_the_main_module(
    monkeypatch: pytest.MonkeyPatch, program: str, module: str, known: bool
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    assert is_command(module) is known
