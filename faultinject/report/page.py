"""The page of one source file, before it is HTML: its lines with what struck them.

Lives here: which lines are shown, how alike trials come together, and how much of it all
when the page must stay small. Not here: the templates (``html/``), the folder of pages
(`faultinject.report.pages`), the picture (`faultinject.report.picture`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from faultinject.campaign.outcome import Outcome
from faultinject.report.counts import PathCounts
from faultinject.report.findings import FileFindings, FoundPath, StruckTrial
from faultinject.report.highlight import highlight
from faultinject.report.source import Source

_ALL = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Detail:
    """How much a page shows.

    Attributes:
        around: source lines shown before and after each line that matters.
        tracebacks: on the page.
        groups: of trials, on each line.
        repeats: trials listed in each group.
        rows: of a table, and lines that matter.
        colours: whether words of the source are coloured.
    """

    around: int = _ALL
    tracebacks: int = _ALL
    groups: int = _ALL
    repeats: int = _ALL
    rows: int = _ALL
    colours: bool = True


# From everything down to what fits in any case; the first that makes the page small enough.
DETAILS = (
    Detail(),
    Detail(tracebacks=50, repeats=10),
    Detail(around=10, tracebacks=20, repeats=5),
    Detail(around=3, tracebacks=10, groups=5, repeats=3, rows=1000),
    Detail(around=0, tracebacks=0, groups=1, repeats=1, rows=300, colours=False),
)


@dataclass(slots=True)
class TrialGroup:
    """Trials of one line that came to the same.

    Attributes:
        shown: those that are listed one by one.
        traceback: of the first, or "" where there is none or no room.
    """

    trials: list[StruckTrial]
    shown: list[StruckTrial] = field(default_factory=list)
    traceback: str = ""

    @property
    def first(self) -> StruckTrial:
        """The one that speaks for all."""
        return self.trials[0]

    @property
    def left_out(self) -> int:
        """How many are not listed."""
        return len(self.trials) - len(self.shown)


@dataclass(slots=True)
class Line:
    """One line of the page.

    Attributes:
        html: the source, or None where it is not shown.
        state: of the innermost error path that it belongs to, or "".
        starts: the error paths that begin here.
        left_out: groups that are not shown for want of room.
        gap: how many lines before this one are not shown.
    """

    number: int
    html: Markup | None = None
    state: str = ""
    starts: list[FoundPath] = field(default_factory=list)
    groups: list[TrialGroup] = field(default_factory=list)
    trials: list[StruckTrial] = field(default_factory=list)
    left_out: int = 0
    gap: int = 0

    @property
    def matters(self) -> bool:
        """Whether anything is known about it."""
        return bool(self.starts or self.trials)

    @property
    def counts(self) -> list[tuple[Outcome, int]]:
        """How many trials came to what, the worst first."""
        return count_outcomes(self.trials)

    @property
    def start(self) -> Markup:
        """Its row up to the source: built here, as most of a page is nothing but these."""
        words = f"row {self.state}" if self.state else "row"
        name = f' id="L{self.number}"' if self.matters else ""
        number = f'<span class="no">{self.number}</span>'
        return Markup(f'<div class="{words}"{name}>{number}<code>{self.html or ""}</code>')


@dataclass(slots=True)
class Site:
    """One call site of the file, and where its faults ended."""

    line: int
    function: str
    capability: str
    trials: list[StruckTrial]

    @property
    def counts(self) -> list[tuple[Outcome, int]]:
        """How many trials came to what, the worst first."""
        return count_outcomes(self.trials)

    @property
    def left(self) -> int:
        """How many of its faults nothing caught: they left the test."""
        return sum(trial.left for trial in self.trials)

    @property
    def caught(self) -> list[tuple[FoundPath, int]]:
        """The error paths in which its faults ended, and how many did."""
        counted = Counter(trial.caught_by for trial in self.trials if trial.caught_by)
        return sorted(counted.items(), key=lambda item: (item[0].file, item[0].line))

    @property
    def entered(self) -> list[tuple[FoundPath, int]]:
        """The error paths that its faults entered, and how many of its trials did."""
        counted = Counter(path for trial in self.trials for path in trial.entered)
        return sorted(counted.items(), key=lambda item: (item[0].file, item[0].line))


@dataclass(slots=True)
class Page:
    """One source file, ready for the template."""

    file: FileFindings
    source: Source
    counts: PathCounts
    lines: list[Line]
    sites: list[Site]
    shortened: bool
    last_gap: int = 0


def count_outcomes(trials: Sequence[StruckTrial]) -> list[tuple[Outcome, int]]:
    """Count some trials by outcome, the worst first."""
    counts = Counter(trial.outcome for trial in trials)
    return [(outcome, counts[outcome]) for outcome in Outcome if counts[outcome]]


def origins(path: FoundPath) -> list[tuple[str, int, int]]:
    """Give the call sites whose faults entered a path: file, line, number of trials."""
    counted = Counter((trial.file, trial.line) for trial in path.entered_by)
    return [(file, line, count) for (file, line), count in sorted(counted.items())]


def last_line(file: FileFindings) -> int:
    """Give the last line that is spoken of."""
    lines = [path.end_line for path in file.paths] + [trial.line for trial in file.trials]
    return max(lines, default=0)


def coloured(source: Source) -> list[Markup]:
    """Give the source's lines as HTML."""
    return highlight(source.lines) if source.lines else []


def make_page(file: FileFindings, source: Source, html: Sequence[Markup], detail: Detail) -> Page:
    """Lay out one page.

    Args:
        file: what was found.
        source: the source, as far as it may be shown.
        html: its lines; empty without a source.
        detail: how much is shown.
    """
    lines = {number: Line(number) for number in _shown_lines(file, len(html), detail)}
    if html:
        for line in lines.values():
            line.html = html[line.number - 1] if 0 < line.number <= len(html) else None
        for path in file.paths:  # outer ones first, so that the innermost decides
            for number in range(path.line, min(path.end_line, len(html)) + 1):
                if number in lines:
                    lines[number].state = path.reached
    for path in file.paths:
        if path.line in lines:
            lines[path.line].starts.append(path)
            lines[path.line].state = lines[path.line].state or path.reached
    for trial in file.trials:
        if trial.line in lines:
            lines[trial.line].trials.append(trial)
    _add_groups(lines.values(), detail)
    before = 0
    for line in lines.values():
        line.gap = line.number - before - 1 if html else 0
        before = line.number
    return Page(
        file=file,
        source=source,
        counts=PathCounts.of(file.paths),
        lines=list(lines.values()),
        sites=list(_sites(file))[: detail.rows],
        shortened=detail is not DETAILS[0],
        last_gap=max(0, len(html) - before) if html else 0,
    )


def _shown_lines(file: FileFindings, length: int, detail: Detail) -> list[int]:
    matter = sorted({path.line for path in file.paths} | {trial.line for trial in file.trials})
    matter = matter[: detail.rows]
    if not length:
        return matter
    if detail.around >= length:
        return sorted({*range(1, length + 1), *matter})
    shown = set(matter)
    for number in matter:
        shown.update(range(max(1, number - detail.around), min(length, number + detail.around) + 1))
    return sorted(shown)


def _add_groups(lines: Iterable[Line], detail: Detail) -> None:
    tracebacks = detail.tracebacks
    for line in lines:
        groups: dict[tuple[object, ...], TrialGroup] = {}
        for trial in line.trials:
            came_to = (trial.outcome, trial.verdict, trial.known, trial.interpreter, trial.error)
            said = (trial.leaks, trial.details, trial.traceback, trial.persistent)
            ended = (id(trial.caught_by), trial.left)
            key = (trial.capability, *came_to, *said, *ended, *map(id, trial.entered))
            groups.setdefault(key, TrialGroup([])).trials.append(trial)
        ordered = sorted(groups.values(), key=_urgency)
        line.groups, line.left_out = ordered[: detail.groups], len(ordered[detail.groups :])
        for group in line.groups:
            group.shown = group.trials[: detail.repeats]
            if group.first.traceback and tracebacks > 0:
                group.traceback = group.first.traceback
                tracebacks -= 1


def _urgency(group: TrialGroup) -> tuple[bool, int]:
    return not group.first.fails_run, list(Outcome).index(group.first.outcome)


def _sites(file: FileFindings) -> Iterator[Site]:
    sites: dict[tuple[object, ...], Site] = {}
    for trial in file.trials:
        key = (trial.line, trial.function, trial.capability)
        site = sites.setdefault(key, Site(trial.line, trial.function, trial.capability, []))
        site.trials.append(trial)
    return iter(sites.values())
