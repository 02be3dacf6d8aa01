"""Functions as a subject: prep, body and check, without pytest.

Lives here: one run of three functions under observation. Not here: the public
``sweep`` (`faultinject.campaign.sweep`), pytest items (`pytest_faultinject`).
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from faultinject.campaign.armable import Armable
from faultinject.campaign.evidence import RunResult
from faultinject.campaign.propagation import describe, is_propagated
from faultinject.campaign.scope import Scope
from faultinject.campaign.warned import noting_warnings


class Functions:
    """Runs ``prep()``, then ``body(prepared)`` armed, then ``check(prepared)``.

    What ``prep`` returns is passed on, unless it is None. ``prep`` fails the run
    before the fault; ``check`` is the invariant: what it raises is damage.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        prep: Callable[[], Any] | None,
        check: Callable[..., Any] | None,
        *,
        raises: tuple[type[BaseException], ...] = (),
        scope: Scope | None = None,
    ) -> None:
        self._body = body
        self._prep = prep
        self._check = check
        self._raises = raises
        self._scope = scope or Scope()
        self._error: BaseException | None = None
        self._text = ""

    def run(self, arm: Armable | None, mark: Callable[[str], None]) -> RunResult:
        """Run the three functions once; see `faultinject.campaign.trial.Subject`."""
        result = RunResult(passed=False)
        if arm is not None:
            self._error, self._text = None, ""
        given: tuple[Any, ...] | None = None
        try:
            mark("setup")
            prepared = self._prep() if self._prep is not None else None
            given = () if prepared is None else (prepared,)
            mark("body")
            started = time.perf_counter()
            try:
                with noting_warnings() as result.warnings:
                    self._run_body(arm, given)
                result.passed = True
            finally:
                result.duration = time.perf_counter() - started
        except BaseException as error:
            self._take(error, result, keep=arm is not None)
            if given is None:
                return result  # prep failed: there is nothing to check
        mark("invariants")
        if self._check is not None:
            try:
                self._check(*given)
            except BaseException as error:
                result.broken.append(describe(error))
                if result.passed:
                    result.passed = False
                    self._take(error, result, keep=arm is not None)
                    result.propagated = False
        return result

    def _run_body(self, arm: Armable | None, given: tuple[Any, ...]) -> None:
        if arm is None:
            self._body(*given)
            return
        with arm.armed():
            self._body(*given)

    def _take(self, error: BaseException, result: RunResult, *, keep: bool) -> None:
        if keep:
            self._error = error
        result.error = describe(error)
        result.propagated = is_propagated(error, raises=self._raises, under_test=self._scope.covers)

    def explain(self, note: str = "") -> str:
        """Render the traceback of the last armed run, and let go of the exception."""
        if self._error is not None:
            if note:
                self._error.add_note(note)
            self._text = "".join(traceback.format_exception(self._error))
            self._error = None
        return self._text
