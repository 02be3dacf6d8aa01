"""Reports as several kernels print them, of our own making: no log that anybody sent."""

from __future__ import annotations

from pathlib import Path

_LOGS = Path(__file__).with_name("logs")


def _text(name: str) -> str:
    return (_LOGS / f"{name}.txt").read_text()


OLD, SINGLE, MODERN = _text("2.6.32"), _text("3.2"), _text("6.8")
SLUB, VMALLOC, OOM = _text("slub"), _text("vmalloc"), _text("oom")
