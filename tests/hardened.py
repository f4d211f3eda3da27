"""What a compiled module lacks of the hardening that setup.py asks for: python tests/hardened.py MODULE."""

from __future__ import annotations

import re
import subprocess
import sys


def missing(module: str) -> list[str]:
    """Return what the module's ELF headers and symbols lack."""
    text = subprocess.run(
        ["readelf", "--wide", "--segments", "--dynamic", "--dyn-syms", module],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    symbols = re.findall(r"^ +\d+: \w+ +\d+ (\w+) +(GLOBAL|WEAK) +\w+ +(\w+) ([^ @\n]+)", text, re.M)
    imported = {name for _, _, section, name in symbols if section == "UND"}
    exported = {name for _, _, section, name in symbols if section != "UND"}
    stack = re.search(r"GNU_STACK.* (\w+) +0x\w+$", text, re.M)
    found = {
        "relocations that are read-only once done (-z relro)": "GNU_RELRO" in text,
        "symbols bound at the start (-z now)": re.search(r"BIND_NOW|Flags: .*NOW", text) is not None,
        "a stack that does not execute (-z noexecstack)": stack is not None and "E" not in stack[1],
        "code that is never written to": "TEXTREL" not in text,
        "no segment that is written and executed": not re.search(r"LOAD .* RWE ", text),
        "stack protection (-fstack-protector-strong)": "__stack_chk_fail" in imported,
        "checked copies (-D_FORTIFY_SOURCE)": any(re.fullmatch(r"__\w+_chk", name) for name in imported),
        "no symbol to see but Python's entry (-fvisibility=hidden)": {
            name for name in exported if not re.fullmatch(r"(PyInit_|_cffi_pypyinit_)_native|_(init|fini)", name)
        }
        == set(),
    }
    return [what for what, there in found.items() if not there]


if __name__ == "__main__":
    lacks = missing(sys.argv[1])
    sys.exit(f"{sys.argv[1]} lacks: {'; '.join(lacks)}" if lacks else 0)
