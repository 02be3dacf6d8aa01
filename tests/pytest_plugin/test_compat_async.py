"""Coroutine tests under a campaign: pytest-asyncio in both modes, and anyio."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from campaigns import run_campaign


@pytest.fixture(autouse=True)
def neighbours(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs load both plugins for coroutine tests beside this plugin."""
    names = "pytest_faultinject.plugin,pytest_asyncio.plugin,anyio.pytest_plugin"
    monkeypatch.setenv("PYTEST_PLUGINS", names)


STRICT = """
    import asyncio

    import pytest
    import pytest_asyncio

    import faultinject as fi

    pytestmark = pytest.mark.asyncio
    loops = []


    async def take():
        await asyncio.sleep(0)
        item = fi.kmalloc(64, fi.GFP_KERNEL)
        if item is None:
            raise MemoryError("no item")
        fi.kfree(item)


    @pytest_asyncio.fixture
    async def connection():
        await asyncio.sleep(0)
        opened = fi.kmalloc(128, fi.GFP_KERNEL)
        yield [opened]
        await asyncio.sleep(0)
        fi.kfree(opened)


    async def test_propagates(connection):
        assert len(connection) == 1
        connection.append("dirty")
        await take()


    async def test_a_task_recovers():
        assert asyncio.get_running_loop() not in loops
        loops.append(asyncio.get_running_loop())
        results = await asyncio.gather(take(), take(), return_exceptions=True)
        assert len(results) == 2


    async def test_a_task_fails():
        task = asyncio.create_task(take())
        done, _ = await asyncio.wait([task])
        assert all(item.exception() is None for item in done)


    async def test_a_group_propagates():
        async with asyncio.TaskGroup() as group:
            group.create_task(take())
            group.create_task(asyncio.sleep(0))


    async def test_a_thread_recovers():
        try:
            await asyncio.to_thread(lambda: asyncio.run(take()))
        except MemoryError:
            pass
"""

EXPECTED = {
    "test_propagates": ["propagated"] * 2,
    "test_a_task_recovers": ["recovered"] * 3,
    "test_a_task_fails": ["failed"] * 2,
    "test_a_group_propagates": ["propagated"] * 2,
    "test_a_thread_recovers": ["recovered"] * 2,
}


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio_runs_every_trial_in_a_fresh_loop_with_fresh_fixtures(
    pytester: pytest.Pytester, mode: str
) -> None:
    project = STRICT
    if mode == "auto":
        project = project.replace("pytestmark = pytest.mark.asyncio\n", "\n")
        project = project.replace("@pytest_asyncio.fixture", "@pytest.fixture")
    pytester.makepyfile(test_stream=project)

    campaign = run_campaign(
        pytester, f"--asyncio-mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function"
    )

    outcomes = {name.partition("::")[2]: campaign.outcomes(name) for name in campaign.tests}
    assert outcomes == EXPECTED
    assert campaign.all_run_twice
    campaign.result.assert_outcomes(passed=4, failed=1)


def test_a_loop_and_an_async_fixture_of_a_whole_module_are_kept_through_the_trials(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_wide="""
        import asyncio

        import pytest
        import pytest_asyncio

        import faultinject as fi

        pytestmark = pytest.mark.asyncio(loop_scope="module")


        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def connection():
            opened = {"loop": asyncio.get_running_loop(), "times": 1}
            yield opened
            assert opened["times"] == 1
            assert opened["loop"] is asyncio.get_running_loop()


        async def take():
            await asyncio.sleep(0)
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                raise MemoryError("no item")
            fi.kfree(item)


        async def test_first(connection):
            assert connection["loop"] is asyncio.get_running_loop()
            await take()


        async def test_second(connection):
            assert connection["loop"] is asyncio.get_running_loop()
            await asyncio.gather(take(), take(), return_exceptions=True)
        """
    )

    campaign = run_campaign(pytester, "-o", "asyncio_default_fixture_loop_scope=function")

    assert campaign.outcomes("test_wide.py::test_first") == ["propagated"] * 2
    assert campaign.outcomes("test_wide.py::test_second") == ["recovered"] * 3
    assert campaign.all_run_twice
    campaign.result.assert_outcomes(passed=2)


BACKENDS = ["asyncio", *(["trio"] if find_spec("trio") else [])]


def test_anyio_runs_every_trial_on_each_of_its_backends(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_anyio=f"""
        import anyio
        import pytest

        import faultinject as fi

        pytestmark = pytest.mark.anyio


        @pytest.fixture(params={BACKENDS!r})
        def anyio_backend(request):
            return request.param


        @pytest.fixture
        async def connection():
            await anyio.sleep(0)
            yield []
            await anyio.sleep(0)


        async def take(results):
            await anyio.sleep(0)
            item = fi.kmalloc(64, fi.GFP_KERNEL)
            if item is None:
                raise MemoryError("no item")
            fi.kfree(item)
            results.append(1)


        async def test_propagates(connection):
            assert connection == []
            await take(connection)


        async def test_a_group_propagates(connection):
            async with anyio.create_task_group() as group:
                group.start_soon(take, connection)


        async def test_fails(connection):
            try:
                await take(connection)
            except MemoryError:
                pass
            assert connection == [1]
        """
    )

    campaign = run_campaign(pytester)

    for backend in BACKENDS:
        assert campaign.outcomes(f"test_anyio.py::test_propagates[{backend}]") == ["propagated"] * 2
        assert (
            campaign.outcomes(f"test_anyio.py::test_a_group_propagates[{backend}]")
            == ["propagated"] * 2
        )
        assert campaign.outcomes(f"test_anyio.py::test_fails[{backend}]") == ["failed"] * 2
    assert campaign.all_run_twice
    campaign.result.assert_outcomes(passed=2 * len(BACKENDS), failed=len(BACKENDS))
