"""The OOM killer: whom it chooses, what the end of a task is, and when it refuses."""

from collections.abc import Sequence

import pytest

from faultinject.errors import SpecError, UsageError
from faultinject.gfp import GFP_KERNEL, Gfp
from faultinject.mm import Memory, Page, Task

QUIET = Gfp.NOWARN


def starved(*hogs: int, kernel: str = "6.6") -> tuple[Memory, list[Task]]:
    """A memory that is full, and tasks that hold so many MiB of it each."""
    memory = Memory("64M", kernel=kernel)
    tasks = []
    for at, size in enumerate(hogs):
        held = memory.consume(f"{size}M")
        tasks.append(memory.tasks.add(f"hog{at}", rss=f"{size}M", on_exit=held.release))
    memory.consume(leave=0)
    return memory, tasks


def killed(memory: Memory) -> list[str]:
    return [kill.task.name for kill in memory.oom.kills]


def event(memory: Memory, name: str) -> str:
    return dict(line.split() for line in memory.vmstat().splitlines())[name]


def test_the_task_with_the_most_memory_ends(caplog: pytest.LogCaptureFixture) -> None:
    memory, tasks = starved(2, 8, 4)

    assert memory.alloc_page(GFP_KERNEL) is not None

    assert killed(memory) == ["hog1"]
    assert [task.exited for task in tasks] == [False, True, False]
    assert memory.free_bytes == (8 << 20) - 4096
    assert event(memory, "oom_kill") == "1"
    assert "Out of memory: Killed process 1001 (hog1) anon-rss:8192kB" in caplog.text
    kill = memory.oom.kills[0]
    assert (kill.order, kill.gfp, kill.seconds) == (0, GFP_KERNEL, 0)
    memory.check()


def test_of_several_equal_ones_the_last_ends() -> None:
    memory, _ = starved(2, 2, 2)

    memory.alloc_page(GFP_KERNEL)

    assert killed(memory) == ["hog2"]


def test_the_oom_score_adj_weighs_a_thousandth_of_the_memory() -> None:
    memory, tasks = starved(8, 2, 4)
    tasks[0].oom_score_adj = -1000  # never
    tasks[1].oom_score_adj = 40  # 2.56 MiB more
    assert [memory.oom.badness(task) for task in tasks] == [2048 - 16384, 512 + 655, 1024]

    memory.alloc_page(GFP_KERNEL)
    memory.consume(leave=0)
    memory.alloc_page(GFP_KERNEL)
    memory.consume(leave=0)
    assert memory.alloc_page(GFP_KERNEL | QUIET) is None

    assert killed(memory) == ["hog1", "hog2"]
    assert not tasks[0].victim


def test_tasks_are_killed_one_after_the_other_until_there_is_enough() -> None:
    memory, _ = starved(2, 2)
    for name in ("leaky", "idle"):
        memory.tasks.add(name, rss="32M")  # its end gives nothing back

    assert memory.alloc_page(GFP_KERNEL) is not None

    assert killed(memory) == ["idle", "leaky", "hog1"]
    assert memory.attempts[-1].victims == ["idle", "leaky", "hog1"]
    assert memory.attempts[-1].met


def test_the_memory_of_a_task_may_be_told_by_a_function() -> None:
    memory = Memory("64M", kernel="6.6")
    held = memory.consume("2M")
    memory.tasks.add("hog", rss=lambda: held.size, on_exit=held.release)
    memory.tasks.add("other", rss="1M")
    memory.consume(leave=0)

    memory.alloc_page(GFP_KERNEL)

    assert killed(memory) == ["hog"]
    assert memory.oom.kills[0].task.rss == 0


def test_the_policy_may_be_to_kill_who_asks() -> None:
    memory, tasks = starved(1, 8)
    memory.oom.policy = "allocating_task"

    with tasks[0].running():
        # It may take what the reserve has for victims; here there is nothing left.
        assert memory.alloc_page(GFP_KERNEL | QUIET) is None
    assert killed(memory) == ["hog0"]
    memory.consume(leave=0)
    assert memory.alloc_page(GFP_KERNEL) is not None  # nobody asks: the worst ends

    assert killed(memory) == ["hog0", "hog1"]


def test_the_policy_may_be_a_function() -> None:
    memory, tasks = starved(2, 8)
    seen = []

    def youngest(candidates: Sequence[Task]) -> Task | None:
        seen.append(list(candidates))
        return max(candidates, key=lambda task: -task.pid)

    memory.oom.policy = youngest
    assert memory.alloc_page(GFP_KERNEL) is not None

    assert seen == [tasks]
    assert killed(memory) == ["hog0"]
    assert memory.oom.policy is youngest


@pytest.mark.parametrize("policy", ["refuse", lambda tasks: None], ids=["refuse", "function"])
def test_a_policy_that_chooses_nobody_lets_the_request_fail(policy: object) -> None:
    memory, _ = starved(8)
    memory.oom.policy = policy  # type: ignore[assignment]

    assert memory.alloc_page(GFP_KERNEL | QUIET) is None

    assert (memory.attempts[-1].gave_up, memory.oom.refusals, killed(memory)) == ("oom", 1, [])


def test_a_policy_that_chooses_a_stranger_is_an_error() -> None:
    memory, _ = starved(8)
    stranger = Memory("1M").tasks.add("stranger")
    memory.oom.policy = lambda tasks: stranger

    with pytest.raises(UsageError, match="was not offered"):
        memory.alloc_page(GFP_KERNEL)
    assert memory.attempts[-1].gave_up == "raised"


@pytest.mark.parametrize("policy", ["worst", None, 5])
def test_a_policy_that_is_none_is_refused(policy: object) -> None:
    memory = Memory("1M")

    with pytest.raises(UsageError, match="badness, allocating_task, refuse"):
        memory.oom.policy = policy  # type: ignore[assignment]
    assert memory.oom.policy == "badness"


def test_a_policy_that_allocates_is_not_asked_in_turn() -> None:
    memory, tasks = starved(8)

    def policy(candidates: Sequence[Task]) -> Task:
        assert memory.alloc_page(GFP_KERNEL | QUIET) is None
        return tasks[0]

    memory.oom.policy = policy

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert killed(memory) == ["hog0"]


def test_the_end_of_a_task_may_allocate_from_the_reserve_of_victims() -> None:
    memory = Memory("64M", kernel="6.6")
    held = memory.consume("2M")
    memory.consume(leave="min")
    last_words: list[Page | None] = []

    def end() -> None:
        last_words.append(memory.alloc_page(GFP_KERNEL))
        held.release()

    memory.tasks.add("hog", rss="2M", on_exit=end)
    memory.tasks.add("other")

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert last_words != [None]
    assert killed(memory) == ["hog"]


def test_the_end_of_a_task_kills_nobody_else() -> None:
    memory = Memory("64M", kernel="6.6")
    held = memory.consume("2M")
    memory.consume(leave=0)
    last_words: list[Page | None] = []

    def end() -> None:
        last_words.append(memory.alloc_page(GFP_KERNEL | QUIET))
        held.release()

    memory.tasks.add("hog", rss="2M", on_exit=end)
    memory.tasks.add("other")

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert last_words == [None]
    assert killed(memory) == ["hog"]


def test_what_the_end_of_a_task_raises_reaches_who_asked_for_memory() -> None:
    memory, _ = starved()

    def end() -> None:
        raise ValueError("cannot end")

    task = memory.tasks.add("hog", rss="1M", on_exit=end)

    with pytest.raises(ValueError, match="cannot end"):
        memory.alloc_page(GFP_KERNEL)
    assert task.exited
    assert memory.alloc_page(GFP_KERNEL | QUIET) is None  # it is not killed again
    memory.check()


def test_a_running_victim_ends_when_it_returns_and_only_once() -> None:
    memory, _ = starved()
    memory.oom.policy = "allocating_task"
    ends = []
    task = memory.tasks.add("victim", on_exit=lambda: ends.append(task.exited))

    with task.running(), task.running():
        memory.alloc_page(GFP_KERNEL | QUIET)
        assert (task.victim, task.exited, ends) == (True, False, [])
    with task.running():
        pass

    assert ends == [True]


def test_a_realtime_task_goes_deeper_into_the_reserve() -> None:
    for realtime in (True, False):
        memory = Memory("64M", kernel="6.6")
        memory.consume(leave="min")
        task = memory.tasks.add("audio", realtime=realtime, oom_score_adj=-1000)
        with task.running():
            assert (memory.alloc_page(GFP_KERNEL | QUIET) is not None) is realtime


def test_the_oom_killer_runs_only_where_reclaim_brought_nothing() -> None:
    memory, tasks = starved(8, 2)
    memory.register_shrinker(lambda sc: tasks[1].leave())

    assert memory.alloc_page(GFP_KERNEL) is not None
    assert killed(memory) == []


def test_a_task_that_was_removed_is_not_killed() -> None:
    memory, tasks = starved(8, 2)
    memory.tasks.remove(tasks[0])

    memory.alloc_page(GFP_KERNEL)

    assert killed(memory) == ["hog1"]
    assert (len(memory.tasks), list(memory.tasks)) == (1, [tasks[1]])


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": 5},
        {"name": "a", "rss": "much"},
        {"name": "a", "rss": -4096},
        {"name": "a", "rss": 100},
        {"name": "a", "on_exit": 5},
        {"name": "a", "oom_score_adj": 1001},
        {"name": "a", "oom_score_adj": -1001},
        {"name": "a", "oom_score_adj": True},
    ],
    ids=str,
)
def test_an_impossible_task_is_refused(arguments: dict[str, object]) -> None:
    memory = Memory("1M")

    with pytest.raises(SpecError):
        memory.tasks.add(**arguments)  # type: ignore[arg-type]
    assert len(memory.tasks) == 0


def test_tasks_show_what_became_of_them() -> None:
    memory, tasks = starved(1)

    assert repr(tasks[0]) == "<Task 1000 'hog0', 1048576 bytes>"
    assert repr(memory.tasks) == "<Tasks: hog0>"
    memory.alloc_page(GFP_KERNEL)
    assert repr(tasks[0]) == "<Task 1000 'hog0', 1048576 bytes, exited>"
    assert repr(Memory("1M").tasks) == "<Tasks: none>"
