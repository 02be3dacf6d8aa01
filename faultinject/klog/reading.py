"""Reading a kernel log: every report of a failed allocation in it, as the log goes by.

Lives here: `read_reports`, in constant memory however long the log is: which lines belong
together, and to which report. Not here: what single lines say (``.headers``,
``.mem_info``), what a report comes to (``.explain``).

Mailers wrap long lines, and consoles of several CPUs interleave them. Where the log's
lines have a prefix, one without continues the line before. Where none has, a line that
begins like none of a report's does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from faultinject.klog import headers
from faultinject.klog.mem_info import BEGINS, MemInfo
from faultinject.klog.prefix import strip_prefix
from faultinject.klog.reports import FailureReport, Kind

_CHUNK = 1 << 20

# A line that is longer is none of a log's; the rest of it is left out.
_LONGEST = 1 << 16

# A wrapped line of the kernel's is never longer than this.
_LONGEST_TEXT = 8192

# After so many lines that say nothing of it, a report is over.
_PATIENCE = 400

# So many reports are open at once: each CPU may be in the middle of one.
_MOST_OPEN = 64

_BANNER = b"Linux version "

# How a line break inside a message is written by consoles, rsyslog and journald.
_BREAK = re.compile(r"\\x0a|#012|\\n(?= [a-z])")


@dataclass(slots=True)
class _Open:
    """A report that more lines may belong to."""

    report: FailureReport
    task: str
    last: int
    mem_info: MemInfo = field(init=False)
    has_mem_info: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        self.mem_info = MemInfo(self.report)


@dataclass(slots=True)
class _Pending:
    """A line of the kernel's, of which more may follow."""

    text: str
    task: str
    line: int


class _Reader:
    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._pending: _Pending | None = None
        self._dated = False
        self._release: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open, so that only a report's beginning matters."""
        return not self._open and self._pending is None

    def feed(self, raw: bytes, number: int) -> Iterator[FailureReport]:
        """Take one line of the log; give the reports that are over now."""
        begins_report = _begins_report(raw)
        tells = begins_report or _BANNER in raw or (not self.is_idle and _is_telling(raw))
        if self._pending is None and not tells:
            yield from self._give_up(number)
            return
        text, task, dated = strip_prefix(_decode(raw))
        if begins_report and self.is_idle:
            self._dated = dated
        for part in _BREAK.split(text) if "\\" in text or "#" in text else (text,):
            self._take(_Pending(part.rstrip(), task, number), dated, tells, begins_report)
        yield from self._give_up(number)

    def end(self, *, cut: bool) -> Iterator[FailureReport]:
        """Take the end of the log; give what is still open.

        Args:
            cut: the last line has no end, so more of it may be missing.
        """
        at = self._pending.line if self._pending is not None else 0
        self._settle()
        for entry in self._open:
            if cut and entry.last == at:
                entry.report.remarks.append(
                    f"the text ends within line {at}: its last figure may be cut"
                )
            yield self._finished(entry)
        self._open.clear()

    def _take(self, line: _Pending, dated: bool, tells: bool, begins_report: bool) -> None:
        pending = self._pending
        if pending is not None:
            continues = not dated if self._dated else BEGINS.match(line.text) is None
            if continues and not begins_report:
                if len(pending.text) < _LONGEST_TEXT:
                    pending.text = f"{pending.text} {line.text.strip()}"
                return
            self._settle()
        if tells:
            self._pending = line

    def _settle(self) -> None:
        """Take the pending line as it is now: nothing more follows."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        text, task, line = pending.text, pending.task, pending.line
        report = headers.read_header(text.lstrip(), line)
        if report is not None:
            self._begin(_Open(report, task, line))
            return
        if release := headers.read_banner(text):
            self._release = release
            return
        entry = self._of_task(task)
        if entry is None:
            return
        if (release := headers.read_release(text)) is not None:
            if entry.report.kernel is None:
                entry.report.kernel, entry.last = release, line
        elif (cache := headers.read_cache(text)) is not None:
            slab = self._of_task(task, slab=True)
            if slab is not None and slab.report.cache is None:
                slab.report.cache, slab.last = cache, line
        else:
            self._read_mem_info(text.lstrip(), task, line)

    def _begin(self, entry: _Open) -> None:
        for other in self._open:
            unfinished = other.report.kind is not Kind.SLAB and not other.has_mem_info
            if unfinished and entry.report.kind is not Kind.SLAB and other.task == entry.task:
                # Its figures were suppressed, or it is printed by another CPU just now.
                entry.report.remarks.append(
                    f"the report at line {other.report.line} has no memory figures before this "
                    "one begins; they may have been mixed up"
                )
        self._open.append(entry)

    def _read_mem_info(self, text: str, task: str, line: int) -> None:
        starts = text[:9] in ("Mem-Info:", "Mem-info:")
        entry = self._of_task(task, fresh=starts)
        if entry is None:
            return
        if starts or entry.mem_info.read(text, line):
            entry.has_mem_info, entry.last = True, line

    def _of_task(self, task: str, *, slab: bool = False, fresh: bool = False) -> _Open | None:
        """Give the latest open report of a task; of any, where the log does not tell."""
        for entry in reversed(self._open):
            if entry.task != task or slab is not (entry.report.kind is Kind.SLAB):
                continue
            if not fresh or not entry.has_mem_info:
                return entry
        if not slab:
            return None if fresh else self._of_task(task, slab=True)
        return None

    def _give_up(self, number: int) -> Iterator[FailureReport]:
        """Give the oldest reports if nothing more is to be expected for them."""
        while self._open and (
            number - self._open[0].last > _PATIENCE or len(self._open) > _MOST_OPEN
        ):
            yield self._finished(self._open.pop(0))

    def _finished(self, entry: _Open) -> FailureReport:
        report = entry.report
        if report.kernel is None:
            report.kernel = self._release
        return report


def read_reports(stream: BinaryIO) -> Iterator[FailureReport]:
    """Read a kernel log; give its reports in the order of their headers.

    Nothing in it is an error: what cannot be read is left out, and the report's
    `remarks` say so.

    Args:
        stream: the log's bytes; read in pieces, to its end.
    """
    reader, number, rest, skipping = _Reader(), 0, b"", False
    while chunk := stream.read(_CHUNK):
        if reader.is_idle and not rest and not skipping and _says_nothing(chunk):
            # The last line may be the beginning of one that says something.
            rest = chunk.rpartition(b"\n")[2]
            number += chunk.count(b"\n")
            continue
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for raw in lines:
            number += 1
            if skipping:
                skipping = False
                continue
            yield from reader.feed(raw, number)
        if len(rest) > _LONGEST:
            if not skipping:
                yield from reader.feed(rest[:_LONGEST], number + 1)
            rest, skipping = b"", True
    if rest and not skipping:
        yield from reader.feed(rest, number + 1)
    yield from reader.end(cut=bool(rest))


def _says_nothing(chunk: bytes) -> bool:
    return _BANNER not in chunk and not any(trigger in chunk for trigger in headers.TRIGGERS)


def _begins_report(raw: bytes) -> bool:
    return (b"alloc" in raw or b"oom-" in raw) and any(
        trigger in raw for trigger in headers.TRIGGERS
    )


def _is_telling(raw: bytes) -> bool:
    """Say whether a line may belong to a report; most of a log's lines do not.

    Spelled out, and no regular expression: this is where the time goes.
    """
    return (
        b"kB" in raw
        or b"lowmem_reserve" in raw
        or b"ainted" in raw
        or b"em-" in raw
        or b"cache: " in raw
    )


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\0", " ").rstrip("\r\n")
