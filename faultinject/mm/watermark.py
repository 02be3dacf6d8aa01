"""The watermark check: whether a zone has enough free pages for one request more.

Lives here: `check`, whose answer carries every step. Not here: the comparisons of
each rule (`faultinject.mm.watermark_rules`), where marks come from
(`faultinject.mm.marks`), who has which right (`faultinject.mm.alloc_flags`), and the
walk over zones (`faultinject.mm.zones`).

- ``iterative``, 2.6.24 to 3.14: after the count of all free pages, take away the
  blocks of each smaller order in turn, halve the minimum each time, and compare.
- ``direct``, no kernel's: compare the pages in blocks that are large enough, less
  the request, with the mark divided by the size of the request. What the iterative
  rule was meant to come to.
- ``modern``, since 4.4: compare the count of all free pages, then look for one block
  that is large enough. No order has a mark of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from faultinject.errors import SpecError
from faultinject.mm.alloc_flags import HIGHATOMIC, MIN_RESERVE, NON_BLOCK, OOM, WMARK_MIN
from faultinject.mm.buddy import MAX_ORDER, ORDERS
from faultinject.mm.kernel_version import LATEST, Rule, kernel_version, watermark_rule
from faultinject.mm.marks import in_kb, total
from faultinject.mm.migrate import LETTERS, TYPES, UNMOVABLE
from faultinject.mm.watermark_rules import Counts, steps
from faultinject.mm.zone import Zone

MARKS: Final = ("min", "low", "high")


class Step(NamedTuple):
    """One comparison of a check, in pages.

    Attributes:
        order: None for the count of all free pages. Else, iterative: blocks of this
            order and below no longer count; direct: those below; modern: only those
            of this order do.
        free: what counts.
        min: what it must exceed, without the lowmem reserve.
        ok: whether it does.
    """

    order: int | None
    free: int
    min: int
    ok: bool


class Verdict:
    """The answer of a watermark check; true if the request may be met.

    ``str()`` is a table of its steps.

    Attributes:
        rule: the rule that was used.
        order: of the request.
        mark: the mark it was tested against, in pages, before rights cut it.
        lowmem_reserve: what the zone keeps from such requests, in pages.
        steps: every comparison, up to the one that decided.
    """

    __slots__ = ("lowmem_reserve", "mark", "order", "rule", "steps")

    def __init__(
        self, rule: Rule, order: int, mark: int, lowmem_reserve: int, steps: tuple[Step, ...]
    ) -> None:
        self.rule = rule
        self.order = order
        self.mark = mark
        self.lowmem_reserve = lowmem_reserve
        self.steps = steps

    def __bool__(self) -> bool:
        return self.steps[-1].ok

    def __str__(self) -> str:
        answer = "passes" if self else "fails"
        reserve = f", reserve {_pages(self.lowmem_reserve)}" if self.lowmem_reserve else ""
        lines = [
            f"{self.rule} rule, order {self.order}, mark {_pages(self.mark)}{reserve}: {answer}",
            f"{'':<22}{'free':>20}   {'must exceed':>20}",
        ]
        lines += [
            f"{self._counted(step.order):<22}{_pages(step.free):>20}   "
            f"{_pages(self._limit(step)):>20}   {'ok' if step.ok else 'FAILS'}"
            for step in self.steps
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        answer = "passes" if self else "fails"
        return f"<Verdict: {self.rule}, order {self.order}, mark {self.mark}: {answer}>"

    def _limit(self, step: Step) -> int:
        reserved = step.order is None or self.rule == "direct"
        return step.min + (self.lowmem_reserve if reserved else 0)

    def _counted(self, order: int | None) -> str:
        if order is None:
            return "all free pages"
        if self.rule == "iterative":
            return f"above order {order}"
        return f"order {order} and above" if self.rule == "direct" else f"of order {order}"


def check(
    blocks: Zone | Counts | Mapping[str, Counts],
    order: int,
    *,
    mark: int | str,
    rule: str | None = None,
    high: bool = False,
    harder: bool = False,
    oom: bool = False,
    highatomic: bool = False,
    lowmem_reserve: int = 0,
    reserved_highatomic: int | None = None,
    boost: int | None = None,
    kernel: str | None = None,
) -> Verdict:
    """Tell whether a request of ``1 << order`` pages may be met, and why.

    Args:
        blocks: a zone, or its free blocks: counts by order, or such counts by the
            letter of a migrate type (U, M, E, H). Of the counts all are free pages.
        order: of the request, 0 to 10.
        mark: in pages; of a zone also its name: ``"min"``, ``"low"`` or ``"high"``.
        rule: ``"iterative"``, ``"direct"`` or ``"modern"``. Default: the zone's;
            counts need one.
        high: the request has ``__GFP_HIGH``.
        harder: it cannot sleep (ALLOC_HARDER, later ALLOC_NON_BLOCK).
        oom: it comes from a victim of the OOM killer; only the modern rule knows it.
        highatomic: it may use what is set aside for atomic requests.
        lowmem_reserve: pages that the zone keeps from such requests.
        reserved_highatomic: pages of the pageblocks that are set aside; they do not
            count for requests without any right. Default: the zone's, or 0.
        boost: is added to the mark; a request of order 0 with `high` that fails the
            boosted min mark is tested against the plain one. Default: the zone's, or 0.
        kernel: whose cuts the modern rule makes. Default: the zone's, or ``"6.6"``.

    Raises:
        SpecError: an argument is impossible.
    """
    number = _order(order)
    plain = isinstance(blocks, Mapping | Sequence)
    zone = None if isinstance(blocks, Mapping | Sequence) else _zone(blocks)
    counts = _counts(blocks) if zone is None else zone.buddy.counts_by_type()  # type: ignore[arg-type]
    if rule is None and zone is None:
        raise SpecError(
            "a list of blocks has no watermark rule of its own",
            value=None if plain else blocks,
            cure='Pass rule="iterative", "direct" or "modern"',
        )
    name = watermark_rule(rule) if rule is not None or zone is None else zone.rule
    if oom and name != "modern":
        raise SpecError(
            "an OOM victim has no part of the reserve under this rule",
            value=name,
            cure="It was not tested against marks at all; do not check",
        )
    version = LATEST if zone is None else zone.version
    if kernel is not None:
        version = kernel_version(kernel)
    limit, flags = _mark(mark, zone)
    flags |= (MIN_RESERVE if high else 0) | (NON_BLOCK if harder else 0)
    flags |= (OOM if oom else 0) | (HIGHATOMIC if highatomic else 0)
    raw = steps(
        name,
        zone.free if zone else sum(total(each) for each in counts),
        counts,
        number,
        limit,
        flags,
        _amount("lowmem_reserve", lowmem_reserve, 0),
        _amount(
            "reserved_highatomic", reserved_highatomic, zone.reserved_highatomic if zone else 0
        ),
        _amount("boost", boost, zone.boost if zone else 0),
        version,
    )
    return Verdict(name, number, limit, lowmem_reserve, tuple(Step(*step) for step in raw))


def _order(order: object) -> int:
    if isinstance(order, bool) or not isinstance(order, int) or not 0 <= order <= MAX_ORDER:
        raise SpecError(
            "not an order of pages", value=order, cure=f"Pass an int of 0 to {MAX_ORDER}"
        )
    return order


def _zone(blocks: object) -> Zone:
    if not isinstance(blocks, Zone):
        raise SpecError(
            "neither a zone nor a list of blocks", value=blocks, cure="Pass memory.zones[…]"
        )
    return blocks


def _counts(blocks: Counts | Mapping[str, Counts]) -> list[list[int]]:
    found = [[0] * ORDERS for _ in TYPES]
    if isinstance(blocks, Mapping):
        for letter, counts in blocks.items():
            kind = LETTERS.find(letter) if isinstance(letter, str) and len(letter) == 1 else -1
            if kind < 0:
                raise SpecError(
                    "not the letter of a migrate type",
                    value=letter,
                    cure=f"Pass one of {', '.join(LETTERS)}",
                )
            found[kind] = block_counts(counts)
    else:
        found[UNMOVABLE] = block_counts(blocks)
    return found


def block_counts(counts: Counts) -> list[int]:
    """Return counts of free blocks for every order, checked.

    Raises:
        SpecError: they are no ints of 0 or more, or too many.
    """
    if isinstance(counts, str | bytes) or not isinstance(counts, Sequence):
        raise SpecError(
            "not a list of block counts", value=counts, cure="Pass one number for each order"
        )
    if len(counts) > ORDERS:
        raise SpecError(
            "more block counts than orders",
            value=len(counts),
            cure=f"Pass at most {ORDERS}, for the orders 0 to {MAX_ORDER}",
        )
    for order, count in enumerate(counts):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise SpecError(
                "not a number of blocks",
                value=count,
                where=f"order {order}",
                cure="Pass ints of 0 or more",
            )
    return [*counts, *[0] * (ORDERS - len(counts))]


def _mark(mark: int | str, zone: Zone | None) -> tuple[int, int]:
    if isinstance(mark, str):
        if zone is None or mark not in MARKS:
            raise SpecError(
                "not a watermark",
                value=mark,
                cure="Pass pages, or for a zone one of min, low, high",
            )
        return zone.marks[MARKS.index(mark)], MARKS.index(mark)
    return _amount("mark", mark, 0), WMARK_MIN


def _amount(what: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpecError(f"not a number of pages for {what}", value=value, cure="Pass 0 or more")
    return value


def _pages(pages: int) -> str:
    return f"{pages} ({in_kb(pages)} kB)"
