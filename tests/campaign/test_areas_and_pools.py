"""Sweeps over vmalloc, kvmalloc and mempool: whoever has a second way out recovers."""

import faultinject as fi
from faultinject.campaign.sweep import sweep


def use_an_area() -> None:
    area = fi.vmalloc(200 * fi.PAGE_SIZE)
    if area is None:
        raise MemoryError
    fi.vfree(area)


def use_either() -> None:
    buffer = fi.kvmalloc(10 * fi.PAGE_SIZE)
    if buffer is None:
        raise MemoryError
    fi.kvfree(buffer)


def make_a_pool(cache: fi.KmemCache) -> fi.Mempool:
    pool = fi.mempool_create_slab_pool(2, cache)
    if pool is None:
        cache.destroy()
        raise MemoryError
    return pool


def use_a_pool() -> None:
    cache = fi.kmem_cache_create("request", 200)
    pool = make_a_pool(cache)
    element = pool.alloc(fi.GFP_KERNEL)
    element[0] = 1
    pool.free(element)
    pool.destroy()
    cache.destroy()


def body() -> None:
    use_an_area()
    use_either()
    use_a_pool()


def outcomes(*, persistent: bool) -> dict[str, set[str]]:
    report = sweep(body, persistent=persistent)
    assert not any(trial.leaks for trial in report.trials)
    found: dict[str, set[str]] = {}
    for trial in report.trials:
        found.setdefault(f"{trial.capability} in {trial.function}", set()).add(trial.outcome.value)
    return found


def test_a_fault_once_is_hidden_by_the_second_way_out() -> None:
    assert outcomes(persistent=False) == {
        "failslab in use_an_area": {"propagated"},
        "fail_page_alloc in use_an_area": {"propagated"},
        "fail_page_alloc in use_either": {"recovered"},
        "failslab in make_a_pool": {"propagated"},
        "fail_page_alloc in make_a_pool": {"propagated"},
        "failslab in use_a_pool": {"recovered"},
    }


def test_faults_from_then_on_are_hidden_by_a_reserve_alone() -> None:
    assert outcomes(persistent=True) == {
        "failslab in use_an_area": {"propagated"},
        "fail_page_alloc in use_an_area": {"propagated"},
        "fail_page_alloc in use_either": {"propagated"},
        "failslab in make_a_pool": {"propagated"},
        "fail_page_alloc in make_a_pool": {"propagated"},
        "failslab in use_a_pool": {"recovered"},
    }
