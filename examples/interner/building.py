"""Building the two modules of interner.c, here and now, with no more than a C compiler."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "interner.c"
BUILT = HERE / "build"

MODULES = {"interner_right": [], "interner_wrong": ["-DPLANTED"]}


def build() -> str:
    """Build what is missing or older than its source.

    Returns:
        why it could not be built, in one sentence; "" if it was.
    """
    compiler = shlex.split(sysconfig.get_config_var("LDSHARED") or "cc -shared")
    include = sysconfig.get_path("include")
    BUILT.mkdir(exist_ok=True)
    for name, flags in MODULES.items():
        target = BUILT / (name + sysconfig.get_config_var("EXT_SUFFIX"))
        if target.exists() and target.stat().st_mtime > SOURCE.stat().st_mtime:
            continue
        # Another process may be using the old one, or building as well.
        scratch = target.with_suffix(f".{os.getpid()}")
        command = [*compiler, "-O2", "-g", "-fPIC", f"-I{include}", *flags, str(SOURCE)]
        try:
            ended = subprocess.run(
                [*command, "-o", str(scratch)], capture_output=True, text=True, check=False
            )
        except OSError as error:
            return f"there is no C compiler ({error})"
        if ended.returncode:
            said = ended.stderr.strip().splitlines()
            return f"{compiler[0]} could not build interner.c ({said[0] if said else 'no output'})"
        scratch.replace(target)
    return ""
