"""What holds for all tests: none touches the user's home, and none can hold up the others for ever.

    TIMEOUT seconds        a thread writes down where every thread stands, and ends the process
    … and MORE_S           nobody came to that, the GIL is held: the same without asking for it

Under xdist the process is one worker: the test is told as the one it crashed in, and the rest goes on in
another. No exception is raised in a test that hangs: it would be one more that some `except` swallows.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

SLOW_S = 3600.0  # long campaigns
MORE_S = 30.0
ENDED = 1
STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr: a test's own is captured, and a worker's stdout leads nowhere.

    A run that a shell keeps in the background was told to ignore Ctrl-C; what tests start is not to be.
    """
    assert sys.__stderr__ is not None
    config.stash[STDERR] = os.dup(sys.__stderr__.fileno())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give long campaigns more time."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_S))


def pytest_timeout_set_timer(item: pytest.Item, settings: object) -> bool:
    """Set the two timers; settings are those of pytest-timeout."""
    seconds: float = settings.timeout  # type: ignore[attr-defined]
    descriptor = item.config.stash[STDERR]
    timer = threading.Timer(seconds, _end, (item.nodeid, seconds, descriptor))
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(seconds + MORE_S, exit=True, file=descriptor)

    def cancel() -> None:
        faulthandler.cancel_dump_traceback_later()
        timer.cancel()
        timer.join()

    item.cancel_timeout = cancel  # type: ignore[attr-defined]  # pytest-timeout calls it
    return True


def _end(name: str, seconds: float, descriptor: int) -> None:
    try:
        os.write(descriptor, f"\n{name}: more than {seconds:g} s; it stands here:\n".encode())
        faulthandler.dump_traceback(file=descriptor, all_threads=True)
    finally:
        os._exit(ENDED)


@pytest.fixture(autouse=True)
def own_state_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Autosave keeps its journals in a folder of the test's own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("KMEMSCOPE_STATE_DIR", str(folder))
    return folder
