"""How an event reads: its fields as the kernel's tracepoint prints them.

Events that have no tracepoint in Linux are printed in the same manner, field by field.
Source: Linux 6.1 include/trace/events/percpu.h.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from kernel_sim.call import Arg
from kernel_sim.events import Event
from snapshots.export.trace_text import fields_text

DECIMAL_MAX = 1 << 20  # a larger argument is an address or a set of flags
TEXT_CHARS_MAX = 60
DIGEST_CHARS = 12
DIGESTS_KEPT = 64


def event_fields(event: Event, word_bytes: int = 8) -> str:
    """Return the fields as an exported trace has them: pointers with all their hex digits, flags by name."""
    return fields_text(event, word_bytes)


def argument_text(arg: Arg) -> str:
    """Return an argument of a call as it reads: addresses in hex, sizes in decimal.

    Of a file only size and digest are told, of a long text only its beginning.
    """
    if isinstance(arg, bytes):
        return _file_text(arg)
    if isinstance(arg, str):
        return _short(arg)
    if isinstance(arg, int) and arg > DECIMAL_MAX:
        return f"{arg:#x}"
    return str(arg)


@lru_cache(maxsize=DIGESTS_KEPT)
def _file_text(data: bytes) -> str:
    digest = sha256(data).hexdigest()[:DIGEST_CHARS]
    return f"[{len(data)} bytes, sha256 {digest}…]"


def _short(text: str) -> str:
    lines = text.splitlines()
    if len(lines) < 2 and len(text) <= TEXT_CHARS_MAX:
        return text
    more = f" [{len(lines)} lines]" if len(lines) > 1 else ""
    return f"{lines[0][:TEXT_CHARS_MAX]}…{more}"
