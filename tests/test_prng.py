from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from faultinject.prng import Prng, derive


def test_the_stream_is_splitmix64() -> None:
    # The first numbers of the published reference implementation for these seeds.
    zero, other = Prng(0), Prng(1234567)

    assert [zero.next() for _ in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert [other.next() for _ in range(2)] == [6457827717110365317, 3203168211198807973]


@given(st.integers())
def test_only_the_lowest_64_bits_of_a_seed_count(seed: int) -> None:
    assert Prng(seed).next() == Prng(seed % 2**64).next()


def test_a_roll_is_the_upper_half_of_a_draw_modulo_100() -> None:
    rolls, draws = Prng(5), Prng(5)

    assert [rolls.roll() for _ in range(50)] == [(draws.next() >> 32) % 100 for _ in range(50)]


def test_a_draw_above_the_fair_limit_is_thrown_away() -> None:
    class Given(Prng):
        __slots__ = ("draws",)

        def next(self) -> int:
            return self.draws.pop(0) << 32

    prng = Given(0)
    prng.draws = [2**32 - 1, 4294967200, 4294967199]

    assert prng.roll() == 99


def test_rolls_are_spread_evenly() -> None:
    prng = Prng(1)

    seen = Counter(prng.roll() for _ in range(100_000))

    assert sorted(seen) == list(range(100))
    assert 850 < min(seen.values()) <= max(seen.values()) < 1150


def test_derived_seeds_are_the_same_everywhere() -> None:
    assert derive(7, "tests/test_ring.py::test_open", 3) == 6235444874130728504


def test_borders_order_and_types_of_the_parts_count() -> None:
    seeds = [derive(1, *parts) for parts in [("ab", "c"), ("a", "bc"), ("c", "ab"), ("abc",), ()]]
    seeds += [derive(1, 1), derive(1, "1"), derive(2), derive(1, 1, 1)]

    assert len(set(seeds)) == len(seeds)
