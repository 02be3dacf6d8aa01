"""Zones: which one a request gets, what it keeps from whom, and how a memory is cut."""

import pytest

from faultinject.capabilities.fail_page_alloc import fail_page_alloc
from faultinject.errors import SpecError
from faultinject.gfp import (
    GFP_ATOMIC,
    GFP_DMA,
    GFP_DMA32,
    GFP_HIGHUSER,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_NOWAIT,
    Gfp,
)
from faultinject.mm import Memory, Page
from faultinject.mm.marks import Marks
from faultinject.mm.ram import PAGE_OFFSET

FIVE = {"DMA": "4M", "DMA32": "8M", "Normal": "16M", "HighMem": "8M", "Movable": "4M"}
QUIET = GFP_KERNEL | Gfp.NOWARN


def zone_of(memory: Memory, page: Page | None) -> str | None:
    if page is None:
        return None
    return next(name for name, zone in memory.zones.items() if zone.holds(page.pfn))


def without_marks() -> Memory:
    memory = Memory(zones=FIVE, min_free_kbytes=0)
    for zone in memory.zones.values():
        memory._pages.zones.set_marks(zone, Marks(0, 0, 0))
    return memory


@pytest.mark.parametrize(
    ("flags", "five", "only_normal"),
    [
        (0, "Normal", "Normal"),
        (Gfp.DMA, "DMA", "Normal"),
        (Gfp.HIGHMEM, "HighMem", "Normal"),
        (Gfp.DMA32, "DMA32", "Normal"),
        (Gfp.MOVABLE, "Normal", "Normal"),
        (Gfp.MOVABLE | Gfp.HIGHMEM, "Movable", "Normal"),
        (Gfp.MOVABLE | Gfp.DMA, "DMA", "Normal"),
        (Gfp.MOVABLE | Gfp.DMA32, "DMA32", "Normal"),
    ],
    ids=str,
)
def test_the_zone_bits_name_the_highest_zone(flags: int, five: str, only_normal: str) -> None:
    for memory, expected in ((Memory(zones=FIVE), five), (Memory("4M"), only_normal)):
        assert zone_of(memory, memory.alloc_page(GFP_KERNEL | flags)) == expected


@pytest.mark.parametrize(
    "flags",
    [
        Gfp.DMA | Gfp.HIGHMEM,
        Gfp.DMA | Gfp.DMA32,
        Gfp.HIGHMEM | Gfp.DMA32,
        Gfp.DMA | Gfp.HIGHMEM | Gfp.DMA32,
        Gfp.DMA | Gfp.DMA32 | Gfp.MOVABLE,
        Gfp.MOVABLE | Gfp.RECLAIMABLE,
    ],
    ids=str,
)
@pytest.mark.parametrize("memory", [Memory(zones=FIVE), Memory("4M")], ids=["five", "one"])
def test_contradictory_bits_are_refused_before_a_fault_can_be_injected(
    memory: Memory, flags: int
) -> None:
    # get_free_pages, kmalloc and alloc_pages_exact drop __GFP_HIGHMEM first, as in the kernel.
    calls = [lambda: memory.alloc_pages(GFP_KERNEL | flags, 1)]
    if not flags & Gfp.HIGHMEM:
        calls += [
            lambda: memory.get_free_pages(GFP_KERNEL | flags, 1),
            lambda: memory.alloc_pages_exact(100, GFP_KERNEL | flags),
        ]

    with fail_page_alloc(times=-1, verbose=0) as armed:
        for call in calls:
            with pytest.raises(SpecError, match="gfp flags"):
                call()

    assert armed.injections == []
    assert memory.free_bytes == memory.size
    memory.check()


def test_a_request_falls_back_to_lower_zones_in_order() -> None:
    memory = without_marks()
    for zone in memory.zones.values():
        memory._pages.zones.set_reserve(zone, (0,) * 5)

    seen = []
    while (page := memory.alloc_pages(GFP_HIGHUSER_MOVABLE | Gfp.NOWARN, 10)) is not None:
        seen.append(zone_of(memory, page))

    assert seen == ["Movable", *["HighMem"] * 2, *["Normal"] * 4, *["DMA32"] * 2, "DMA"]


@pytest.mark.parametrize(
    ("gfp", "expected"),
    [
        (GFP_KERNEL, {"Normal", "DMA32", "DMA"}),
        (GFP_KERNEL | GFP_DMA, {"DMA"}),
        (GFP_KERNEL | GFP_DMA32, {"DMA32", "DMA"}),
        (GFP_HIGHUSER, {"HighMem", "Normal", "DMA32", "DMA"}),
    ],
)
def test_a_request_never_gets_a_zone_above_its_own(gfp: int, expected: set[str]) -> None:
    memory = without_marks()

    seen = set()
    while (page := memory.alloc_pages(gfp | Gfp.NOWARN, 4)) is not None:
        seen.add(zone_of(memory, page))

    assert seen == expected


def test_a_zone_that_is_configured_but_empty_is_no_reason_to_use_a_higher_one() -> None:
    memory = Memory(zones={"DMA": 0, "Normal": "4M"})

    assert list(memory.zones) == ["Normal"]
    assert memory.alloc_page(GFP_KERNEL | GFP_DMA | Gfp.NOWARN) is None
    assert memory.alloc_page(GFP_KERNEL | GFP_DMA32) is not None  # not configured at all


def test_the_reserve_keeps_a_low_zone_from_those_who_could_use_a_higher_one() -> None:
    memory = Memory(zones={"DMA": "16M", "Normal": "512M"}, kernel="6.6")
    dma = memory.zones["DMA"]
    assert dma.lowmem_reserve == (0, 512, 512)
    memory.consume(leave=0, zone="Normal")
    memory.consume((dma.free - dma.min - 513) * 4096, zone="DMA")

    assert memory.alloc_page(QUIET) is not None
    assert memory.alloc_page(QUIET) is None
    assert memory.alloc_page(QUIET | GFP_DMA) is not None


def test_a_reserve_and_marks_that_are_set_count_from_the_next_request_on() -> None:
    memory = Memory("64M")
    zones, zone = memory._pages.zones, memory.zones["Normal"]
    memory.alloc_page()

    zones.set_marks(zone, Marks(100, 200, 300))
    zones.set_reserve(zone, (zone.free - 200, 0))
    memory.alloc_page()
    assert memory.alloc_pages(QUIET, 7) is None  # 127 more than the reserve leaves above min
    zones.set_reserve(zone, (0, 0))

    assert memory.alloc_pages(QUIET, 7) is not None


@pytest.mark.parametrize(
    ("rule", "order", "spare", "raised_by"),
    [
        ("iterative", 0, 1, "nothing"),
        ("iterative", 0, 1, "reserve"),
        ("direct", 0, 2, "nothing"),  # that rule takes the request off first
        ("direct", 0, 2, "reserve"),
        ("modern", 0, 1, "nothing"),
        ("modern", 2, 4, "nothing"),
        ("modern", 0, 1, "reserve"),
        ("modern", 2, 4, "boost"),
        ("modern", 0, 1, "highatomic"),
    ],
)
def test_a_zone_at_its_low_mark_is_passed_over_for_a_lower_one(
    rule: str, order: int, spare: int, raised_by: str
) -> None:
    memory = Memory(zones={"DMA32": "64M", "Normal": "64M"}, watermark_rule=rule)
    zones, normal = memory._pages.zones, memory.zones["Normal"]
    if raised_by == "highatomic":
        with memory.consume(leave="low"):
            page = memory.alloc_pages(GFP_ATOMIC, 1)
        memory.free_pages(page, 1)
        assert normal.reserved_highatomic == 512
    elif raised_by == "boost":
        zones.set_boost(normal, 1000)
    elif raised_by == "reserve":
        zones.set_reserve(normal, (0, 1000, 1000))
    raised = {"nothing": 0, "highatomic": 512}.get(raised_by, 1000)
    memory.consume(leave=(normal.low + raised + spare) * 4096, zone="Normal")

    pages = [memory.alloc_pages(QUIET, order) for _ in range(2)]

    assert [zone_of(memory, page) for page in pages] == ["Normal", "DMA32"]


@pytest.mark.parametrize("rule", ["iterative", "modern"])
def test_single_pages_go_down_to_the_min_mark_and_atomic_ones_deeper(rule: str) -> None:
    memory = Memory("64M", watermark_rule=rule)
    zone = memory.zones["Normal"]
    assert (zone.min, zone.low) == (256, 320)
    memory.consume(leave="min")
    assert zone.free == 256

    assert memory.alloc_page(QUIET) is None
    nowait = 0
    while memory.alloc_page(GFP_NOWAIT | Gfp.NOWARN) is not None:
        nowait += 1
    assert zone.free == (256 if rule == "modern" else 192)
    while memory.alloc_page(GFP_ATOMIC | Gfp.NOWARN) is not None:
        pass
    assert zone.free == 96  # 37.5 % of the mark
    assert memory.alloc_page(QUIET | Gfp.MEMALLOC) is not None
    memory.check()


def test_the_worked_example_fails_under_the_old_rule_except_for_atomic_requests() -> None:
    blocks = [2360, 80, 21, 7, 4, 1, 2, 0, 1, 0, 0]
    answers = {}
    for rule in ("iterative", "direct", "modern"):
        memory = Memory(
            zones={"DMA32": "64M"}, kernel="2.6.32", watermark_rule=rule, min_free_kbytes=7076
        )
        memory.fragment(blocks=blocks)
        assert memory.zones["DMA32"].blocks() == blocks
        assert memory.free_bytes == 12560 * 1024
        answers[rule] = [memory.alloc_pages(gfp | Gfp.NOWARN, 4) for gfp in (QUIET, GFP_ATOMIC)]
        memory.check()

    assert answers["iterative"][0] is None
    assert answers["iterative"][1] is not None
    assert None not in answers["direct"] + answers["modern"]


def test_an_exhausted_zone_tells_the_failure_in_the_kernels_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory("64M", kernel="6.6")
    memory.consume(leave="min")

    assert memory.alloc_pages(GFP_KERNEL, 2) is None

    assert "page allocation failure: order:2, mode:0xcc0(GFP_KERNEL)" in caplog.text


def test_a_memory_without_a_description_has_no_watermarks() -> None:
    memory = Memory("64M")

    assert memory.min_free_kbytes is None
    assert memory.zones["Normal"].marks == (0, 0, 0)
    memory.consume(leave=4096)
    assert memory.alloc_page(GFP_KERNEL) is not None
    assert memory.free_bytes == 0


def test_what_a_memory_is_run_by_can_be_read() -> None:
    old = Memory("64M", kernel="2.6.32")
    mixed = Memory("64M", kernel="6.6", watermark_rule="iterative")

    assert (old.kernel, old.watermark_rule) == ("2.6.32", "iterative")
    assert (mixed.kernel, mixed.watermark_rule) == ("6.6", "iterative")
    assert Memory("64M", kernel="4.9").watermark_rule == "modern"


@pytest.mark.parametrize(
    ("size", "layout", "expected"),
    [
        ("8M", "x86_64", {"DMA": 2048}),
        ("1G", "x86_64", {"DMA": 4096, "DMA32": 258048}),
        ("8G", "x86_64", {"DMA": 4096, "DMA32": 1044480, "Normal": 1048576}),
        ("512M", "x86_32", {"DMA": 4096, "Normal": 126976}),
        ("2G", "x86_32", {"DMA": 4096, "Normal": 225280, "HighMem": 294912}),
    ],
)
def test_a_layout_cuts_the_size_as_the_machine_does(
    size: str, layout: str, expected: dict[str, int]
) -> None:
    memory = Memory(size, zones=layout)

    assert {name: zone.pages for name, zone in memory.zones.items()} == expected
    assert memory.size == sum(expected.values()) * 4096


def test_zones_begin_at_whole_blocks_and_the_holes_belong_to_nobody() -> None:
    memory = Memory(zones={"DMA": 1539 * 4096, "Normal": "4M"}, min_free_kbytes=0)

    assert [zone.start_pfn for zone in memory.zones.values()] == [0, 2048]
    assert memory.size == memory.free_bytes == (1539 + 1024) * 4096
    page = memory.alloc_page()
    assert page is not None
    assert page.address == PAGE_OFFSET + (page.pfn << 12)
    page[0:2] = b"ok"
    assert zone_of(memory, page) == "Normal"
    memory.check()
    assert memory.buddyinfo().splitlines() == [
        "Node 0, zone      DMA      1      1      0      0      0      0"
        "      0      0      0      1      1 ",
        "Node 0, zone   Normal      1      1      1      1      1      1"
        "      1      1      1      1      0 ",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"zones": "arm64"},
        {"zones": 5},
        {"zones": ["Normal"]},
        {"zones": {}},
        {"zones": {"Normal": 0}},
        {"zones": {"HighMem": "64M"}},
        {"zones": {"Low": "64M"}},
        {"zones": {"Normal": "64"}},
        {"zones": {"Normal": -4096}},
        {"zones": {"Normal": None}},
        {"zones": {"DMA": "1G", "DMA32": "4G"}},
        {"zones": {"DMA": "8G", "Normal": "1G"}},
        {"zones": {"DMA": "4M", "Normal": "4M"}, "size": "16M"},
        {"zones": {"DMA": "4M", "Normal": "4M"}, "size": "64M"},
        {"zones": "x86_64", "size": "0"},
        {"kernel": "2.2"},
        {"kernel": 6.6},
        {"watermark_rule": "strict"},
        {"watermark_rule": ""},
    ],
    ids=str,
)
def test_an_impossible_machine_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        Memory(**arguments)  # type: ignore[arg-type]


def test_the_size_may_be_repeated_beside_the_zones() -> None:
    assert Memory("8M", zones={"DMA": "4M", "Normal": "4M"}).size == 8 << 20


def test_slabs_and_large_kmallocs_come_from_the_zone_of_their_flags() -> None:
    memory = Memory(zones=FIVE)

    memory.kmalloc(100, GFP_KERNEL | GFP_DMA)
    memory.kmalloc(100_000, GFP_KERNEL | GFP_DMA)
    memory.kmalloc(100)

    used = {name: zone.pages - zone.free for name, zone in memory.zones.items()}
    assert used == {"DMA": 33, "DMA32": 0, "Normal": 1, "HighMem": 0, "Movable": 0}
    memory.check()


def test_a_zone_shows_its_state() -> None:
    memory = Memory("64M", kernel="6.6")
    memory.alloc_pages(GFP_KERNEL, 2)

    shown = repr(memory.zones["Normal"])

    assert shown == "<Zone Normal, 16380 of 16384 pages free, min 256, low 320, high 384>"
