"""The board: memory that a trial and the parent that started it both see.

Lives here: the phase that the trial is in and since when, its notes, its report. What
is written stays when the trial dies, whatever it did to its descriptors, and nobody
who holds one open can keep the parent waiting. Not here: when it is written
(`faultinject.campaign.child`), when it is read (`faultinject.campaign.isolation`).
"""

from __future__ import annotations

import json
import mmap
import struct
import time
from typing import Any

# In all, most of it never touched: only what is written to takes memory.
SIZE = 64 << 20
_NOTES = 256 << 10

# Since when the phase lasts, its name, how long the report and the notes are.
_SINCE = struct.Struct("d")
_LENGTH = struct.Struct("Q")
_PHASE_AT, _PHASE_SIZE = 8, 40
_REPORT_AT, _NOTES_AT, _FLAGS_AT, _BEGAN_AT, _TEXT_AT = 48, 56, 64, 72, 80
_NOTES_START = SIZE - _NOTES

_DELIVERED, _BROKEN, _ALONE = 1, 2, 4

# A board on which so much was written is not used again: it would keep the memory.
_LARGE = 1 << 20


class Board:
    """One trial's board. A fork shares it; a program that is started sees it by a file.

    Args:
        file: the descriptor of a file of `SIZE` bytes to share it by; -1 for none. The
            side that opens the file second finds what the first one has written.
    """

    def __init__(self, file: int = -1) -> None:
        self._memory = mmap.mmap(file, SIZE)
        if file < 0:
            self.wipe()

    def wipe(self) -> None:
        """Make it ready for the next trial."""
        self._memory[:_TEXT_AT] = bytes(_TEXT_AT)
        self.enter("start")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()

    def enter(self, phase: str) -> None:
        """Write down that a phase begins now."""
        name = phase.encode()[:_PHASE_SIZE]
        self._memory[_PHASE_AT : _PHASE_AT + _PHASE_SIZE] = name.ljust(_PHASE_SIZE, b"\0")
        _SINCE.pack_into(self._memory, 0, time.monotonic())

    def begin(self) -> None:
        """Write down that the task itself begins now."""
        self.enter("start")
        _SINCE.pack_into(self._memory, _BEGAN_AT, time.monotonic())

    def note(self, kind: str, text: str) -> None:
        """Add a line that counts even if the trial never reports; too many are dropped."""
        used = self._length(_NOTES_AT)
        data = json.dumps([kind, text]).encode() + b"\n"
        if used + len(data) > _NOTES:
            return
        start = _NOTES_START + used
        self._memory[start : start + len(data)] = data
        _LENGTH.pack_into(self._memory, _NOTES_AT, used + len(data))

    def deliver(self, payload: dict[str, Any], *, alone: bool) -> None:
        """Leave the trial's report.

        Args:
            payload: plain values.
            alone: the trial is sure that no process is left that it started.

        Raises:
            TypeError, ValueError: it cannot be written as JSON.
            OverflowError: it is too long.
        """
        self._write(json.dumps(payload).encode(), _DELIVERED | (_ALONE if alone else 0))

    def complain(self, text: str) -> None:
        """Leave the reason why there is no report."""
        self._write(text.encode(errors="replace")[-_LARGE:], _BROKEN)

    def _write(self, data: bytes, flags: int) -> None:
        if _TEXT_AT + len(data) > _NOTES_START:
            raise OverflowError(f"the report is {len(data)} bytes long, more than {SIZE >> 20} MiB")
        self._memory[_TEXT_AT : _TEXT_AT + len(data)] = data
        _LENGTH.pack_into(self._memory, _REPORT_AT, len(data))
        self._memory[_FLAGS_AT] = flags

    @property
    def phase(self) -> str:
        """The last phase that the trial entered."""
        name = self._memory[_PHASE_AT : _PHASE_AT + _PHASE_SIZE]
        return name.rstrip(b"\0").decode(errors="replace")

    @property
    def since(self) -> float:
        """When it entered that phase, on the monotonic clock."""
        return float(_SINCE.unpack_from(self._memory, 0)[0])

    @property
    def began(self) -> float:
        """When its task itself began, on the monotonic clock; 0 if it has not."""
        return float(_SINCE.unpack_from(self._memory, _BEGAN_AT)[0])

    @property
    def is_answered(self) -> bool:
        """Whether there is a report, or a reason why there is none."""
        return bool(self._memory[_FLAGS_AT])

    @property
    def alone(self) -> bool:
        """Whether the trial reported, and that it leaves no process behind."""
        return bool(self._memory[_FLAGS_AT] & _ALONE)

    @property
    def payload(self) -> dict[str, Any] | None:
        """The trial's report, if it delivered one."""
        if not self._memory[_FLAGS_AT] & _DELIVERED:
            return None
        try:
            found = json.loads(self._text())
        except ValueError:
            return None  # what it did to its memory, it did to the board as well
        return found if isinstance(found, dict) else None

    @property
    def complaint(self) -> str:
        """Why the trial has no report, if it said so."""
        broken = self._memory[_FLAGS_AT] & _BROKEN
        return self._text().decode(errors="replace") if broken else ""

    @property
    def notes(self) -> list[tuple[str, str]]:
        """The trial's notes: what kind each one is, and its text."""
        if not (used := min(self._length(_NOTES_AT), _NOTES)):
            return []
        found = []
        for line in self._memory[_NOTES_START : _NOTES_START + used].splitlines():
            try:
                kind, text = json.loads(line)
            except ValueError:
                continue
            found.append((str(kind), str(text)))
        return found

    @property
    def is_large(self) -> bool:
        """Whether it holds so much memory that a new one is better."""
        return self._length(_REPORT_AT) > _LARGE

    def _text(self) -> bytes:
        return self._memory[_TEXT_AT : _TEXT_AT + self._length(_REPORT_AT)]

    def _length(self, place: int) -> int:
        return int(_LENGTH.unpack_from(self._memory, place)[0])
