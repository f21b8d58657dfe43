"""A test that hangs is ended and told with where it stood, and all others run: see conftest.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import re, time

def test_before(): pass

def test_swallows():
    while True:
        try: time.sleep(100)
        except BaseException: pass

def test_holds_the_lock(): re.match("(a+)+$", "a" * 60 + "b")

def test_behind(): pass
"""


@pytest.mark.slow
def test_what_hangs_is_ended_and_told_and_the_others_run(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    source = (tmp_path / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(source.replace("MORE_S = 30.0", "MORE_S = 1.0"))
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\ntimeout = 2\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "2 failed, 2 passed" in run.stdout
    for name in ("test_swallows", "test_holds_the_lock"):
        assert f"crashed while running 'test_some.py::{name}'" in run.stdout
        assert f"in {name}\n" in run.stderr
    assert "test_some.py::test_swallows: more than 2 s" in run.stderr
