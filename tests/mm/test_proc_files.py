"""The state of a memory as files of /proc: they can be read back, and have the kernel's form."""

from __future__ import annotations

import pytest

import faultinject as fi
from faultinject.mm.proc_text import parse_buddyinfo, parse_zoneinfo


@pytest.mark.parametrize("kernel", ["2.6.24", "3.14", "4.19", "6.6"])
@pytest.mark.parametrize("zones", ["x86_64", "x86_32", {"Normal": "32M", "Movable": "16M"}])
def test_a_memory_can_be_made_from_what_another_one_tells(
    kernel: str, zones: str | dict[str, str]
) -> None:
    size = {} if isinstance(zones, dict) else {"size": "48M"}
    memory = fi.Memory(**size, zones=zones, kernel=kernel)  # type: ignore[arg-type]
    memory.fragment(4)
    memory.consume("8M")
    memory.alloc_pages(fi.GFP_KERNEL, 2)

    again = fi.Memory.from_proc(memory.buddyinfo(), memory.zoneinfo(), kernel=kernel)

    assert again.buddyinfo() == memory.buddyinfo()
    for name, zone in memory.zones.items():
        other = again.zones[name]
        assert (other.pages, other.free, other.marks) == (zone.pages, zone.free, zone.marks)
        highest = min(zone.lowmem_reserve), max(zone.lowmem_reserve)
        assert (min(other.lowmem_reserve), max(other.lowmem_reserve)) == highest
    again.check()


def test_a_boost_survives_as_well() -> None:
    memory = fi.Memory("64M", kernel="6.6")
    zone = memory.zones["Normal"]
    memory._pages.zones.set_boost(zone, 100)

    (told,) = (each for each in parse_zoneinfo(memory.zoneinfo()) if each.managed)
    again = fi.Memory.from_proc(memory.buddyinfo(), memory.zoneinfo()).zones["Normal"]

    assert (told.min, told.boost) == (zone.min + 100, 100)
    assert (again.marks, again.boost) == (zone.marks, 100)


def test_zoneinfo_is_the_kernels_text() -> None:
    memory = fi.Memory("64M", kernel="6.6")

    assert (
        memory.zoneinfo()
        == """\
Node 0, zone   Normal
  pages free     16384
        boost    0
        min      256
        low      320
        high     384
        spanned  16384
        present  16384
        managed  16384
        cma      0
        protection: (0, 0)
      nr_free_pages 16384
  pagesets
  start_pfn:           0
Node 0, zone  Movable
  pages free     0
        boost    0
        min      32
        low      32
        high     32
        spanned  0
        present  0
        managed  0
        cma      0
        protection: (0, 0)
"""
    )


@pytest.mark.parametrize(
    ("kernel", "line"), [("2.6.24", "scanned  0 (a: 0 i: 0)"), ("3.14", "scanned  0"), ("4.9", "")]
)
def test_zoneinfo_of_old_kernels_tells_what_was_scanned(kernel: str, line: str) -> None:
    lines = fi.Memory("64M", kernel=kernel).zoneinfo().splitlines()
    between = lines[lines.index("        high     384") + 1]

    assert between.strip() == (line or "spanned  16384")


def test_slabinfo_counts_objects_and_slabs() -> None:
    memory = fi.Memory("1M")
    cache = memory.kmem_cache_create("inode", 600)
    held = [cache.alloc() for _ in range(30)]
    cache.free(held.pop())

    head, columns, *rows = memory.slabinfo().splitlines()

    assert head == "slabinfo - version: 2.1"
    assert columns.startswith("# name            <active_objs> <num_objs> <objsize> ")
    assert [" ".join(row.split()) for row in rows] == [
        "inode 29 39 600 13 2 : tunables 0 0 0 : slabdata 3 3 0"
    ]


def test_meminfo_adds_up() -> None:
    memory = fi.Memory("64M", kernel="6.6")
    memory.consume("16M")
    memory.kmalloc(100)
    memory.kmem_cache_create("dentry", 192, flags=fi.mm.SLAB_RECLAIM_ACCOUNT).alloc()

    lines = memory.meminfo().splitlines()
    told = {line.split(":")[0]: int(line.split()[1]) for line in lines}

    assert lines[0] == "MemTotal:          65536 kB"
    assert told["MemFree"] == 48 * 1024 - 8
    assert told["MemAvailable"] == told["MemFree"] - 384 * 4
    assert (told["Slab"], told["SReclaimable"], told["SUnreclaim"]) == (8, 4, 4)


def test_vmstat_is_a_name_and_a_number_a_line() -> None:
    memory = fi.Memory("64K")
    memory.kmalloc(100)

    told = dict(line.split() for line in memory.vmstat().splitlines())

    assert (told["nr_free_pages"], told["nr_slab_unreclaimable"]) == ("15", "1")
    assert told["alloc_failed"] == "0"


@pytest.mark.parametrize("kernel", ["2.6.24", "6.6"])
def test_vmstat_counts_the_pages_that_were_taken_and_given_back(kernel: str) -> None:
    memory = fi.Memory(zones={"DMA": "16M", "Normal": "48M"}, kernel=kernel)
    memory.alloc_pages(fi.GFP_KERNEL | fi.GFP_DMA, 3)
    for _ in range(2):
        memory.free_pages(memory.alloc_pages(fi.GFP_KERNEL, 2), 2)
    with memory.consume("1M"):
        pass

    told = dict(line.split() for line in memory.vmstat().splitlines())

    assert (told["pgalloc_dma"], told["pgalloc_normal"], told["pgalloc_movable"]) == (
        "8",
        str(8 + 256),
        "0",
    )
    assert told["pgfree"] == str(8 + 256)


def test_buddyinfo_and_zoneinfo_tell_the_same_free_pages() -> None:
    memory = fi.Memory("48M", zones="x86_32", kernel="6.6")
    memory.consume("9M")

    blocks = parse_buddyinfo(memory.buddyinfo())
    for zone in parse_zoneinfo(memory.zoneinfo()):
        counts = blocks.get(zone.place, ())
        assert zone.free == sum(count << order for order, count in enumerate(counts))
