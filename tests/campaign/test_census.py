"""The census: which call sites a clean run reaches, and how often."""

import json
import threading

from observing import census_of, observed_by, watch

import faultinject as fi
from faultinject.callsite import Pattern, StackFilter
from faultinject.campaign.census import Census, Reached, from_plain, to_plain
from faultinject.campaign.site import Identity, Site
from faultinject.engine import observe


def open_and_close(times: int = 1) -> None:
    for _ in range(times):
        fi.kfree(fi.kmalloc(64))


def twice_on_a_line() -> None:
    for pointer in [fi.kmalloc(64), fi.kmalloc(64)]:
        fi.kfree(pointer)


def slab(reached: list[Reached]) -> list[Reached]:
    return [item for item in reached if item.capability == "failslab"]


def test_each_site_is_counted_once_with_all_its_hits() -> None:
    (item,) = slab(census_of(lambda: open_and_close(5)))

    assert (item.site.function, item.hits) == ("open_and_close", 5)


def test_a_census_makes_nothing_fail() -> None:
    got: list[object] = []

    census_of(lambda: got.append(fi.kmalloc(64)))

    assert got[0] is not None
    fi.kfree(got[0])


def test_a_page_that_the_model_asks_for_itself_belongs_to_its_callers_site() -> None:
    def cold() -> None:
        with fi.use_memory(fi.Memory("1M")) as memory:
            memory.kfree(memory.kmalloc(64))

    sites = {item.capability: item.site for item in census_of(cold)}

    assert set(sites) == {"failslab", "fail_page_alloc"}
    assert sites["failslab"] == sites["fail_page_alloc"]


def test_the_fallback_try_of_a_request_is_no_second_hit() -> None:
    class Fails:
        def __init__(self) -> None:
            self.tries: list[bool] = []
            self.census = Census(watch())

        def eligible_call(self, capability: str, size: int, frame: object, retry: bool) -> bool:
            self.census.eligible_call(capability, size, frame, retry)  # type: ignore[arg-type]
            if capability == "fail_page_alloc":
                self.tries.append(retry)
                return not retry
            return False

    observer = Fails()
    with fi.use_memory(fi.Memory("1M")) as memory:
        cache = memory.kmem_cache_create("wide", 700)
        with observed_by(observer):
            cache.alloc()

    pages = [item for item in observer.census.reached() if item.capability == "fail_page_alloc"]
    assert observer.tries == [False, True]
    assert [item.hits for item in pages] == [1]


def test_calls_of_every_thread_are_counted() -> None:
    def body() -> None:
        threads = [threading.Thread(target=open_and_close, args=(3,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (item,) = slab(census_of(body))

    assert item.hits == 6


def test_a_capability_that_is_not_swept_is_not_counted() -> None:
    reached = census_of(lambda: open_and_close(), watch(capabilities=["fail_page_alloc"]))

    assert slab(reached) == []


def test_calls_inside_no_faults_are_not_counted() -> None:
    def body() -> None:
        with fi.no_faults():
            open_and_close()

    assert slab(census_of(body)) == []


def test_the_kernels_stack_filter_narrows_a_census() -> None:
    def other_way() -> None:
        open_and_close()

    def body() -> None:
        open_and_close()
        other_way()

    there = Pattern.parse(f"{__name__}:{other_way.__qualname__}")
    only = {"failslab": StackFilter((there,), (), 32)}
    never = {"failslab": StackFilter((), (there,), 32)}

    assert [item.hits for item in slab(census_of(body))] == [2]
    assert [item.hits for item in slab(census_of(body, watch(filters=only)))] == [1]
    assert [item.hits for item in slab(census_of(body, watch(filters=never)))] == [1]


def test_one_line_is_one_site_that_stands_for_all_its_instructions() -> None:
    by_line = slab(census_of(twice_on_a_line, watch(identity=Identity.LINE)))
    by_call = slab(census_of(twice_on_a_line))

    assert [(item.hits, len(item.instructions)) for item in by_line] == [(2, 2)]
    assert [(item.hits, len(item.instructions)) for item in by_call] == [(1, 1), (1, 1)]


def test_sites_come_in_the_order_in_which_they_were_first_reached() -> None:
    def body() -> None:
        for _ in range(2):
            twice_on_a_line()
            open_and_close()

    reached = slab(census_of(body))

    assert [item.site.function for item in reached] == [
        "twice_on_a_line",
        "twice_on_a_line",
        "open_and_close",
    ]
    assert reached[0].site.column < reached[1].site.column


def test_of_several_examples_the_one_with_the_most_hits_counts() -> None:
    census = Census(watch())
    with observed_by(census):
        for times in (1, 4, 2):
            census.begin()
            open_and_close(times)

    (item,) = slab(census.reached())

    assert item.hits == 4


def test_what_a_census_found_survives_the_way_through_a_pipe() -> None:
    reached = census_of(twice_on_a_line)

    again = from_plain(json.loads(json.dumps(to_plain(reached))))

    assert again == reached
    assert all(isinstance(item.site, Site) and item.instructions for item in again)


def test_nothing_is_left_in_the_seat() -> None:
    census_of(open_and_close)

    assert observe.current is None
