"""The known-problems file: bad trials that a project has decided to live with for now.

Lives here: its text form, one problem a line, and what matches. Not here: which
trials are bad (`faultinject.campaign.outcome`).

A line is the outcome, a blank and the replay token. The file is sorted, so that
two branches merge, and comments start with ``#``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from faultinject.campaign.outcome import Outcome, Verdict
from faultinject.campaign.record import TrialRecord
from faultinject.campaign.replay import PlannedToken, parse_token
from faultinject.errors import UsageError

HEADER = """\
# Problems that fault injection found and that are known: they do not fail a run.
# One line each: the outcome, a blank, the replay token. Delete a line when it is
# mended, or write the file anew with --fail-alloc-update-known.
"""

# What identifies a problem: the outcome, and the token without its column and line,
# so that an edit of the function does not make an old problem look new.
_Key = tuple[str, str, str, str, int, str]


class KnownProblems:
    """The lines of one file, and which of them this run has met again.

    Args:
        lines: each with what identifies it.
        anywhere: a problem that is known in one test is known in all, for each call
            site is tried in one test, and not in the same one for ever.
    """

    def __init__(self, lines: Iterable[tuple[_Key, str]] = (), *, anywhere: bool = False) -> None:
        self._lines = list(lines)
        self._anywhere = anywhere
        self._keys = {key for key, _ in self._lines}
        self._alike: dict[tuple[object, ...], set[_Key]] = {}
        for key in self._keys:
            self._alike.setdefault(self._problem(key), set()).add(key)
        self._met: set[_Key] = set()

    @classmethod
    def read(cls, path: Path, *, option: str, anywhere: bool = False) -> KnownProblems:
        """Read the file.

        Raises:
            UsageError: it cannot be read, or a line is none of ours; the path and
                the line's number are named.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                "the known-problems file cannot be read",
                value=str(path),
                where=f"{option}: {error}",
                cure="Make it with --fail-alloc-update-known",
            ) from None
        lines = []
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                lines.append((_read_line(stripped, f"{path}:{number}"), stripped))
        return cls(lines, anywhere=anywhere)

    def __len__(self) -> int:
        return len(self._keys)

    def mark_trial(self, trial: TrialRecord) -> None:
        """Mark a trial as known if it is bad and listed; marking it again changes nothing."""
        if trial.verdict is Verdict.BAD:
            key = _key_of(trial.outcome.value, trial.replay)
            known = self._alike.get(self._problem(key))
            if known is not None:
                trial.known = True
                self._met |= known

    def gone(self, tests: Iterable[str]) -> int:
        """Count the known problems of these tests that did not come up again."""
        names = set(tests)
        return sum(1 for key in self._keys - self._met if key[-1] in names)

    def strays(self, tests: Iterable[str]) -> list[str]:
        """Give the test of each known problem that is of none of these, and was not met."""
        names = set(tests)
        met = self._met if self._anywhere else ()
        return sorted(key[-1] for key in self._keys if key[-1] not in names and key not in met)

    def of_others(self, tests: Iterable[str]) -> list[str]:
        """Give the lines about tests that are not among these, as they are written."""
        names = set(tests)
        # One that was met in another test is listed anew, with that one's name.
        moved = self._met if self._anywhere else ()
        return [line for key, line in self._lines if key[-1] not in names and key not in moved]

    def _problem(self, key: _Key) -> tuple[object, ...]:
        """Give what makes two lines the same problem."""
        outcome, capability, file, function, hit, _ = key
        if not self._anywhere or capability == "random":
            return key
        # The last hit has another number in each test.
        return outcome, capability, file, function, hit > 1


def write_known(path: Path, trials: Iterable[TrialRecord], kept: Iterable[str] = ()) -> int:
    """Write the file anew from this run's bad trials, known ones included.

    Args:
        path: the file.
        trials: the bad ones.
        kept: lines that stay, since this run has nothing to say about them.

    Returns:
        how many lines it has.
    """
    lines = sorted({*kept, *(f"{trial.outcome.value} {trial.replay}" for trial in trials)})
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _read_line(line: str, where: str) -> _Key:
    word, _, token = line.partition(" ")
    try:
        outcome = Outcome(word)
    except ValueError:
        raise UsageError(
            "not an outcome",
            value=word,
            where=where,
            cure=f"Start the line with one of {', '.join(item.value for item in Outcome)}",
        ) from None
    return _key_of(outcome.value, token, where)


def _key_of(outcome: str, text: str, where: str = "known problems") -> _Key:
    token = parse_token(text, option=where)
    if isinstance(token, PlannedToken):
        what = token.capability
        if token.error:
            what = f"{what} of {token.caller}: {token.error}"
        return outcome, what, token.file, token.function, token.hit, token.test
    return outcome, "random", token.spec, str(token.seed), token.number, token.test
