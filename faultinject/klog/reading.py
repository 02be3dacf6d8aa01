"""Reading a kernel log: every report of a failed allocation in it, as the log goes by.

Lives here: `read_reports`, in constant memory however long the log is: which lines belong
together, and to which report. Not here: what single lines say (``.headers``,
`faultinject.mm.mem_info`), what a report comes to (``.explain``).

Mailers wrap long lines, and consoles of several CPUs interleave them. Where the log's
lines have a prefix, one without continues the line before. Where none has, a line that
begins like none of a report's does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias

from faultinject.klog import headers
from faultinject.klog.reports import FailureReport, Kind
from faultinject.mm.log_prefix import strip_prefix
from faultinject.mm.mem_info import BEGINS, MemInfo

_CHUNK = 1 << 20

# A line that is longer is none of a log's; the rest of it is left out.
_LONGEST = 1 << 16

# A wrapped line of the kernel's is never longer than this.
_LONGEST_TEXT = 8192

# After so many lines that say nothing of it, a report is over.
_PATIENCE = 400

# So many reports are open at once: each CPU may be in the middle of one.
_MOST_OPEN = 64

_BANNER = "Linux version "
_TRIGGERS = re.compile("|".join(headers.TRIGGERS))
_TRIGGERS_OF_CHUNKS = tuple(text.encode() for text in (_BANNER, *headers.TRIGGERS))

# What a line has that may belong to a report, and what else one has that may begin one; most
# lines of a log have nothing of it.
_TELLS = re.compile(f"kB|lowmem_reserve|ainted|em-|cache: |{_BANNER}")
_MAY_BEGIN = ("alloc", "oom-", "Show Mem")
_MAY_TELL = re.compile("|".join((_TELLS.pattern, *_MAY_BEGIN)))

# How a line break inside a message is written by consoles, rsyslog and journald.
_BREAK = re.compile(r"\\x0a|#012|\\n(?= [a-z])")


@dataclass(slots=True)
class _Open:
    """A report that more lines may belong to."""

    report: FailureReport
    task: str
    last: int
    mem_info: MemInfo = field(init=False)
    is_slab: bool = field(init=False)
    has_mem_info: bool = False
    is_failure: bool = True

    def __post_init__(self) -> None:
        self.is_slab = self.report.kind is Kind.SLAB
        remarks = self.report.remarks
        self.mem_info = MemInfo(self.report.zones, lambda _, text: remarks.append(text))


# A line of the kernel's, of which more may follow: its text, who printed it, its number, and
# whether it may begin a report. A plain tuple: one is made of every line that tells something.
_Pending: TypeAlias = tuple[str, str, int, bool]


class _Reader:
    """Takes a log line by line.

    Attributes:
        finished: the reports that are over; whoever takes them empties it.
    """

    def __init__(self) -> None:
        self.finished: list[FailureReport] = []
        self._open: list[_Open] = []
        self._pending: _Pending | None = None
        self._dated = False
        self._margin = ""
        self._has_breaks = False
        self._release: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open, so that only a report's beginning matters."""
        return not self._open and self._pending is None

    def feed(self, text: str, number: int) -> int:
        """Take whole lines of the log, the first of which has this number.

        Returns:
            the number of the line that comes next.
        """
        at, size, open_ = 0, len(text), self._open
        self._has_breaks = "\\" in text or "#012" in text
        # The next thing in the text that may tell something, and where it is.
        hit, hit_at = None, -1
        while at <= size:
            if hit_at < at:
                hit = _MAY_TELL.search(text, at)
                hit_at = size if hit is None else hit.start()
            if self._pending is None:
                # Most lines say nothing; they are passed over without a look at each.
                if hit is None:
                    number += text.count("\n", at) + 1
                    self._give_up(number - 1)
                    break
                start = text.rfind("\n", at, hit_at) + 1
                if start > at:
                    number += text.count("\n", at, start)
                    at = start
                    self._give_up(number - 1)
            end = text.find("\n", at)
            if end < 0:
                end = size
            raw = text[at:end]
            tells = begins = False
            if hit is not None and hit_at < end:
                tells, begins = self._weigh(raw, hit[0])
            if tells or self._pending is not None:
                self._take(raw, number, tells, begins)
            if open_ and (number - open_[0].last > _PATIENCE or len(open_) > _MOST_OPEN):
                self._give_up(number)
            at, number = end + 1, number + 1
        return number

    def _weigh(self, raw: str, first: str) -> tuple[bool, bool]:
        """Say whether a line tells anything, and whether it begins a report.

        Args:
            raw: the line.
            first: the first thing in it that may tell something.
        """
        may_begin = "alloc" in raw or "oom-" in raw or "Show Mem" in raw
        if may_begin and _TRIGGERS.search(raw) is not None:
            return True, True
        if not self._open and self._pending is None and _BANNER not in raw:
            return False, False
        return first not in _MAY_BEGIN or _TELLS.search(raw) is not None, False

    def _give_up(self, number: int) -> None:
        """Finish the oldest reports if, by this line, nothing more is to be expected for them."""
        open_ = self._open
        while open_ and (number - open_[0].last > _PATIENCE or len(open_) > _MOST_OPEN):
            self._finish(open_.pop(0))

    def _take(self, raw: str, number: int, tells: bool, begins: bool) -> None:
        text, task, dated = strip_prefix(raw)
        if begins and self.is_idle:
            self._dated = dated
        if begins:
            # What was pasted is indented as a whole; the kernel indents single lines further.
            self._margin = text[: len(text) - len(text.lstrip())]
        if self._margin:
            text = text.removeprefix(self._margin)
        for part in _BREAK.split(text) if self._has_breaks else (text,):
            if self._pending is not None:
                continues = not dated if self._dated else BEGINS.match(part) is None
                if continues and not begins:
                    self._continue(self._pending, part)
                    continue
                self._settle()
            if tells:
                self._pending = part.rstrip(), task, number, begins

    def _continue(self, pending: _Pending, more: str) -> None:
        text, task, line, _ = pending
        if len(text) < _LONGEST_TEXT:
            self._pending = f"{text} {more.strip()}", task, line, True

    def end(self, *, cut: bool) -> None:
        """Take the end of the log.

        Args:
            cut: the last line has no end, so more of it may be missing.
        """
        at = self._pending[2] if self._pending is not None else 0
        self._settle()
        for entry in self._open:
            if cut and entry.last == at:
                entry.report.remarks.append(
                    f"the text ends within line {at}: its last figure may be cut"
                )
            self._finish(entry)
        self._open.clear()

    def _settle(self) -> None:
        """Take the pending line as it is now: nothing more follows."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        text, task, line, may_begin = pending
        text = text.lstrip()
        if may_begin and (report := headers.read_header(text, line)) is not None:
            self._begin(_Open(report, task, line))
            return
        if may_begin and headers.begins_other(text):
            # Else its figures would be taken for those of an earlier report that has none.
            self._open.append(_Open(FailureReport(Kind.PAGE, line), task, line, is_failure=False))
            return
        if text.startswith("Linux version ") and (release := headers.read_banner(text)):
            self._release = release
            return
        entry = self._open[-1] if self._open else None
        if entry is None or entry.is_slab or entry.task != task:
            entry = self._of_task(task)
            if entry is None:
                return
        if entry.mem_info.read(text, line):
            entry.has_mem_info, entry.last = True, line
        elif text[:9] in ("Mem-Info:", "Mem-info:"):
            fresh = self._of_task(task, fresh=True)
            if fresh is not None:
                fresh.has_mem_info, fresh.last = True, line
        elif (release := headers.read_release(text)) is not None:
            if entry.report.kernel is None:
                entry.report.kernel, entry.last = release, line
        elif (cache := headers.read_cache(text)) is not None:
            slab = self._of_task(task, slab=True)
            if slab is not None and slab.report.cache is None:
                slab.report.cache, slab.last = cache, line

    def _begin(self, entry: _Open) -> None:
        for other in self._open:
            if (
                not other.has_mem_info
                and other.task == entry.task
                and not (other.is_slab or entry.is_slab)
            ):
                # Its figures were suppressed, or it is printed by another CPU just now.
                entry.report.remarks.append(
                    f"the report at line {other.report.line} has no memory figures before this "
                    "one begins; they may have been mixed up"
                )
        self._open.append(entry)

    def _of_task(self, task: str, *, slab: bool = False, fresh: bool = False) -> _Open | None:
        """Give the latest open report of a task; of any, where the log does not tell."""
        for entry in reversed(self._open):
            if entry.task == task and entry.is_slab is slab and not (fresh and entry.has_mem_info):
                return entry
        if not slab:
            return None if fresh else self._of_task(task, slab=True)
        return None

    def _finish(self, entry: _Open) -> None:
        report = entry.report
        if report.kernel is None:
            report.kernel = self._release
        if entry.is_failure:
            self.finished.append(report)


def read_reports(stream: BinaryIO) -> Iterator[FailureReport]:
    """Read a kernel log; give its reports in the order of their headers.

    Nothing in it is an error: what cannot be read is left out, and the report's
    `remarks` say so.

    Args:
        stream: the log's bytes; read in pieces, to its end.
    """
    reader, number, rest, skipping = _Reader(), 1, b"", False
    while chunk := stream.read(_CHUNK):
        if skipping:
            # The end of the line that was too long.
            _, end, chunk = chunk.partition(b"\n")
            if not end:
                continue
            skipping, number = False, number + 1
        if reader.is_idle and not rest and _says_nothing(chunk):
            # The last line may be the beginning of one that says something.
            rest = chunk.rpartition(b"\n")[2]
            number += chunk.count(b"\n")
        else:
            whole, end, rest = (rest + chunk).rpartition(b"\n")
            if end:
                number = reader.feed(_decode(whole), number)
        if len(rest) > _LONGEST:
            reader.feed(_decode(rest[:_LONGEST]), number)
            rest, skipping = b"", True
        yield from reader.finished
        reader.finished.clear()
    if rest:
        reader.feed(_decode(rest), number)
    reader.end(cut=bool(rest) or skipping)
    yield from reader.finished


def _says_nothing(chunk: bytes) -> bool:
    return not any(trigger in chunk for trigger in _TRIGGERS_OF_CHUNKS)


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\0", " ")
