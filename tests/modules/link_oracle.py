"""What GNU ld makes of an object at given addresses: the oracle for relocated bytes.

To make expected.json anew, delete it and run tests/kernel_sim/modules/test_relocation.py where ld is.

Every section is put where the loader put it (the per-CPU section at its __percpu pointer), every name from
outside gets the address it has there, and the linked bytes of each section are kept.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
EMULATION = {"x86-64": "elf_x86_64", "i386": "elf_i386"}


def linked_sections(
    path: Path, arch: str, places: dict[str, int], names: dict[str, int]
) -> dict[str, str]:
    """Return the linked bytes of the sections in places, in hexadecimal."""
    with tempfile.TemporaryDirectory() as folder:
        script, linked = Path(folder) / "place.ld", Path(folder) / "linked"
        lines = [f"  {name} {addr:#x} : {{ *({name}) }}" for name, addr in places.items()]
        script.write_text("SECTIONS\n{\n" + "\n".join(lines) + "\n  /DISCARD/ : { *(*) }\n}\n")
        command = ["ld", "-m", EMULATION[arch], "-static", "-e", "0", "--no-check-sections"]
        command += ["--no-relax", "-z", "max-page-size=4096", "-T", str(script), "-o", str(linked)]
        command += [f"--defsym={name}={value:#x}" for name, value in names.items()]
        command.append(str(path))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        with linked.open("rb") as file:
            elf = ELFFile(file)
            found = {section.name: section for section in elf.iter_sections()}
            return {
                name: found[name].data().hex()
                for name in places
                if name in found and found[name]["sh_type"] == "SHT_PROGBITS"
            }


def write_expected(stored: dict[str, dict[str, dict[str, str]]]) -> None:
    """Keep what ld made: by processor, object and section."""
    EXPECTED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
