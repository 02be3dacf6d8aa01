"""Where the marks come from: the kernel's tables."""

import pytest

from faultinject.errors import SpecError
from faultinject.mm import Memory
from faultinject.mm.kernel_version import VERSIONS
from faultinject.mm.marks import default_min_free_kbytes, lowmem_reserve, zone_marks

MB, GB = 1024, 1024**2
ZONES = {"DMA": 3840, "DMA32": 765000, "Normal": 262144, "Movable": 0}


@pytest.mark.parametrize(
    ("lowmem_kbytes", "old", "new"),
    [
        (1 * MB, 128, 128),
        (2 * MB, 181, 181),
        (4 * MB, 256, 256),
        (8 * MB, 362, 362),
        (16 * MB, 512, 512),
        (32 * MB, 724, 724),
        (64 * MB, 1024, 1024),
        (128 * MB, 1448, 1448),
        (256 * MB, 2048, 2048),
        (512 * MB, 2896, 2896),
        (1 * GB, 4096, 4096),
        (2 * GB, 5792, 5792),
        (4 * GB, 8192, 8192),
        (8 * GB, 11585, 11585),
        (16 * GB, 16384, 16384),
        (64 * GB, 32768, 32768),
        (256 * GB, 65536, 65536),
        (4 * GB * 1024, 65536, 262144),
    ],
)
def test_min_free_kbytes_is_the_root_of_the_memory(lowmem_kbytes: int, old: int, new: int) -> None:
    assert default_min_free_kbytes(lowmem_kbytes, VERSIONS["2.6.24"]) == old
    assert default_min_free_kbytes(lowmem_kbytes, VERSIONS["4.19"]) == old
    assert default_min_free_kbytes(lowmem_kbytes, VERSIONS["6.6"]) == new


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("2.6.24", {"DMA": (7, 8, 10), "DMA32": (1519, 1898, 2278), "Normal": (520, 650, 780)}),
        ("6.6", {"DMA": (7, 10, 13), "DMA32": (1519, 2284, 3049), "Normal": (520, 782, 1044)}),
    ],
)
def test_the_zones_share_min_free_kbytes_by_their_size(
    kernel: str, expected: dict[str, tuple[int, ...]]
) -> None:
    marks = zone_marks(ZONES, 8192, VERSIONS[kernel])

    assert {name: marks[name] for name in expected} == expected


def test_high_memory_has_a_min_mark_of_its_own_but_keeps_its_distances() -> None:
    zones = {"DMA": 4096, "Normal": 225280, "HighMem": 294912, "Movable": 0}

    assert zone_marks(zones, 4096, VERSIONS["2.6.24"])["HighMem"] == (128, 457, 786)
    assert zone_marks(zones, 4096, VERSIONS["6.6"])["HighMem"] == (128, 457, 786)
    small = {**zones, "HighMem": 20000}
    assert zone_marks(small, 4096, VERSIONS["6.6"])["HighMem"][0] == 32


def test_zone_movable_shares_min_free_kbytes_only_in_older_kernels() -> None:
    zones = {"Normal": 100_000, "Movable": 100_000}

    assert zone_marks(zones, 8000, VERSIONS["2.6.32"])["Movable"].min == 1000
    assert zone_marks(zones, 8000, VERSIONS["6.6"])["Movable"].min == 97
    assert zone_marks(zones, 8000, VERSIONS["6.6"])["Normal"].min == 2000


def test_the_reserve_of_a_zone_grows_with_the_zones_above_it() -> None:
    for version in VERSIONS.values():
        assert lowmem_reserve(ZONES, version) == {
            "DMA": (0, 2988, 4012, 4012),
            "DMA32": (0, 0, 1024, 1024),
            "Normal": (0, 0, 0, 0),
            "Movable": (0, 0, 0, 0),
        }


def test_high_memory_is_kept_from_movable_pages_only_in_older_kernels() -> None:
    zones = {"Normal": 1000, "HighMem": 6400, "Movable": 3200}

    assert lowmem_reserve(zones, VERSIONS["2.6.24"])["HighMem"] == (0, 0, 100)
    assert lowmem_reserve(zones, VERSIONS["6.6"])["HighMem"] == (0, 0, 0)
    assert lowmem_reserve(zones, VERSIONS["6.6"])["Normal"] == (0, 200, 300)


def test_a_memory_computes_its_marks_from_its_zones() -> None:
    zones = {name: pages * 4096 for name, pages in ZONES.items()}

    memory = Memory(zones=zones, kernel="2.6.24", min_free_kbytes=8192)

    assert {name: zone.marks for name, zone in memory.zones.items()} == {
        "DMA": (7, 8, 10),
        "DMA32": (1519, 1898, 2278),
        "Normal": (520, 650, 780),
    }
    assert memory.zones["DMA"].lowmem_reserve == (0, 2988, 4012, 4012)
    assert memory.min_free_kbytes == 8192


def test_a_memory_chooses_min_free_kbytes_as_the_kernel_does() -> None:
    assert Memory("64M", kernel="6.6").min_free_kbytes == 1024
    assert Memory("1G", zones="x86_32").min_free_kbytes == 3831  # HighMem does not count
    assert Memory("64M", watermark_rule="direct", min_free_kbytes=0).zones["Normal"].min == 0


@pytest.mark.parametrize("bad", [-1, True, "1024", 1.5, 65536, 1 << 40])
def test_an_impossible_min_free_kbytes_is_refused(bad: object) -> None:
    with pytest.raises(SpecError, match="min_free_kbytes"):
        Memory("64M", min_free_kbytes=bad)  # type: ignore[arg-type]


def test_a_memory_that_is_too_small_for_its_marks_says_so() -> None:
    with pytest.raises(SpecError, match=r"keeps the whole memory back: 128 \(128 kB"):
        Memory("128K", kernel="6.6")
    assert Memory("132K", kernel="6.6").zones["Normal"].min == 32
