"""Reading a kernel log: every report of a failed allocation in it, as the log goes by.

Lives here: `read_reports`, in constant memory however long the log is, and which of the
log's lines are one of the kernel's. Not here: which report a line belongs to
(``.assembly``), what reports come to (``.explain``).

Mailers wrap long lines, and consoles of several CPUs interleave them. Where the log's
lines have a prefix, one without continues the line before. Where none has, a line that
begins like none of a report's does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO, NamedTuple, TypeAlias

from faultinject.klog import headers
from faultinject.klog.assembly import MOST_OPEN, PATIENCE, Assembly
from faultinject.klog.reports import FailureReport
from faultinject.mm.log_prefix import strip_prefix, without_colours
from faultinject.mm.mem_info import BEGINS, LINE

# Small enough that a chunk and its reports stay in the cache of the processor.
_CHUNK = 1 << 16

# A line that is longer is none of a log's; the rest of it is left out.
_LONGEST = 1 << 16

# A wrapped line of the kernel's is never longer than this.
_LONGEST_TEXT = 8192

_BANNER = "Linux version "
_TRIGGERS = re.compile("|".join(headers.TRIGGERS))

# One of these is in every part of a log that may begin a report. Colours may be in the middle
# of it.
_IN_CHUNKS = (
    b"allocation failure",
    b"allocation stalls",
    b"allocate memory on ",
    b"vmalloc ",
    b"for size ",
    b"oom-killer",
    b"Show Memory",
    _BANNER.encode(),
    b"\x1b",
)

# What a line has that may belong to a report, and what else one has that may begin one; most
# lines of a log have nothing of it. The fewer letters these begin with, the quicker.
_TELLS = re.compile(f"kB|lowmem_reserve|ainted|em-|cache: |objs: |order, use|{_BANNER}")
_MAY_BEGIN = re.compile("alloc(?:at| error| size| space|_node_range for)|oom-|Show Mem")
_MAY_TELL = re.compile(f"{_TELLS.pattern}|{_MAY_BEGIN.pattern}")
_OF_ZONES = ("kB", "lowmem_reserve")

# How a line break inside a message is written by consoles, rsyslog and journald, and in JSON.
_BREAK = re.compile(r"\\x0a|#012|\n|\\n(?= [a-z])")

# The prefixes of lines that follow each other differ in their digits alone. Once so many headers
# had the same one but for that, it is worth an expression of its own; for so many there is one.
_DIGITS = str.maketrans("123456789", "000000000")
_WORTH_IT = 3
_MOST_SHAPES = 64

# A line of the kernel's, of which more may follow: its text, who printed it, its number, and
# whether it may begin a report. A plain tuple: one is made of every line that tells something.
_Pending: TypeAlias = tuple[str, str, int, bool]


class _Shape(NamedTuple):
    """What the lines of a log begin with: all prefixes that differ in digits alone.

    Attributes:
        start: matches where a line begins so, and thus continues no other.
        zone: matches a line of a zone, if the next line begins so: then this one is whole.
            Its groups are the task, and those of `LINE`.
    """

    start: re.Pattern[str]
    zone: re.Pattern[str]


# Without prefixes: what begins a line of its own.
_BARE = _Shape(BEGINS, re.compile(rf"(){LINE}\n(?=(?x:{BEGINS.pattern}))", re.ASCII))


@lru_cache(maxsize=_MOST_SHAPES)
def _shape_of(prefix: str, task: str) -> _Shape:
    """Give the shape of a prefix all of whose digits are 0, as are those of its task."""
    words = re.escape(prefix).replace("0", "[0-9]")
    number = re.escape(task).replace("0", "[0-9]")
    start = words.replace(number, f"({number})", 1) if task else f"(){words}"
    return _Shape(re.compile(start), re.compile(rf"{start}{LINE}\n(?={words})"))


class _Reader:
    """Takes a log line by line.

    Attributes:
        assembly: takes what the kernel printed.
    """

    __slots__ = (
        "_dated",
        "_has_breaks",
        "_margin",
        "_pending",
        "_shape",
        "_shapes",
        "_task",
        "assembly",
    )

    def __init__(self) -> None:
        self.assembly = Assembly()
        self._pending: _Pending | None = None
        self._dated = False
        self._margin = ""
        # Of the latest header: its prefix, if that was worth it, and who printed it.
        self._shape: _Shape | None = None
        self._task = ""
        self._shapes: dict[tuple[str, str], int] = {}
        self._has_breaks = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open, so that only a report's beginning matters."""
        return not self.assembly.open and self._pending is None

    def feed(self, text: str, number: int) -> int:
        """Take whole lines of the log, the first of which has this number.

        Returns:
            the number of the line that comes next.
        """
        at, size, open_ = 0, len(text), self.assembly.open
        give_up = self.assembly.give_up
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
                    give_up(number - 1)
                    break
                start = text.rfind("\n", at, hit_at) + 1
                if start > at:
                    number += text.count("\n", at, start)
                    at = start
                    if open_ and number - open_[0].last > PATIENCE:
                        give_up(number - 1)
                if self._shape is not None and hit[0] in _OF_ZONES:
                    began = at
                    at, number = self._take_zones(self._shape, text, at, number)
                    if at > began:
                        continue
            elif self._shape is not None and self._shape.start.match(text, at) is not None:
                self._settle()
                continue
            end = text.find("\n", at)
            if end < 0:
                end = size
            raw = text[at:end]
            tells = begins = False
            if hit is not None and hit_at < end:
                tells, begins = self._weigh(raw, hit[0])
            if tells or self._pending is not None:
                self._take(raw, number, tells, begins)
            if open_ and (number - open_[0].last > PATIENCE or len(open_) > MOST_OPEN):
                give_up(number)
            at, number = end + 1, number + 1
        return number

    def _take_zones(self, shape: _Shape, text: str, at: int, number: int) -> tuple[int, int]:
        """Take lines of zones that follow each other, and are whole: most of a report is such.

        Returns:
            where the next line is, and its number.
        """
        entry = self.assembly.zones_of(self._task)
        if entry is None or self._has_breaks:
            return at, number
        take, began, task = entry.mem_info.take, number, self._task
        while (found := shape.zone.match(text, at)) is not None:
            groups = found.groups()
            if groups[0] != task:
                break
            take(groups, number)
            at, number = found.end(), number + 1
        if number > began:
            entry.has_mem_info, entry.last = True, number - 1
        return at, number

    def _weigh(self, raw: str, first: str) -> tuple[bool, bool]:
        """Say whether a line tells anything, and whether it begins a report.

        Args:
            raw: the line.
            first: the first thing in it that may tell something.
        """
        may_begin = "alloc" in raw or "oom-" in raw or "Show Mem" in raw
        if may_begin and _TRIGGERS.search(raw) is not None:
            return True, True
        if self.is_idle and _BANNER not in raw:
            return False, False
        return _MAY_BEGIN.match(first) is None or _TELLS.search(raw) is not None, False

    def _take(self, raw: str, number: int, tells: bool, begins: bool) -> None:
        text, task, dated = strip_prefix(raw)
        if begins:
            if self.is_idle:
                self._dated = dated
            self._task = task
            # What was pasted is indented as a whole; the kernel indents single lines further.
            self._margin = text[: len(text) - len(text.lstrip())]
            # In JSON the text is none of the line's.
            self._shape = self._shape_for(raw.removesuffix(text)) if raw.endswith(text) else None
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

    def _shape_for(self, prefix: str) -> _Shape | None:
        if not self._dated:
            return None if self._margin or prefix else _BARE
        key = prefix.translate(_DIGITS), self._task.translate(_DIGITS)
        seen = self._shapes.get(key, 0) + 1
        if seen > 1 or len(self._shapes) < _MOST_SHAPES:
            self._shapes[key] = seen
        return _shape_of(*key) if seen >= _WORTH_IT else None

    def _continue(self, pending: _Pending, more: str) -> None:
        text, task, line, _ = pending
        if len(text) < _LONGEST_TEXT:
            self._pending = f"{text} {more.strip()}", task, line, True

    def _settle(self) -> None:
        """Take the pending line as it is now: nothing more follows."""
        pending, self._pending = self._pending, None
        if pending is not None:
            text, task, line, may_begin = pending
            self.assembly.take(text, task, line, may_begin=may_begin)

    def end(self, *, cut: bool) -> None:
        """Take the end of the log.

        Args:
            cut: the last line has no end, so more of it may be missing.
        """
        at = self._pending[2] if self._pending is not None else 0
        self._settle()
        self.assembly.end(at if cut else None)


def read_reports(stream: BinaryIO) -> Iterator[FailureReport]:
    """Read a kernel log; give its reports in the order of their headers.

    Nothing in it is an error: what cannot be read is left out, and the report's
    `remarks` say so.

    Args:
        stream: the log's bytes; read in pieces, to its end.
    """
    reader, number, rest, skipping = _Reader(), 1, b"", False
    finished = reader.assembly.finished
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
        yield from finished
        finished.clear()
    if rest:
        reader.feed(_decode(rest), number)
    reader.end(cut=bool(rest) or skipping)
    yield from finished


def _says_nothing(chunk: bytes) -> bool:
    return not any(mark in chunk for mark in _IN_CHUNKS)


def _decode(raw: bytes) -> str:
    return without_colours(raw.decode("utf-8", "replace").replace("\0", " "))
