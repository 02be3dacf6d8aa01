"""A capability of another package: gpio_request() returns -EBUSY.

Three things make a capability: a class that says what it is, a call of `consult` at the
place that fails, and the hook through which faultinject finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType
from typing import ClassVar

from faultinject.capabilities.capability import Capability, Gate
from faultinject.capabilities.hookspecs import hookimpl


class FailGpioRequest(Capability):
    """gpio_request() returns -EBUSY."""

    name = "fail_gpio_request"
    unit = "lines"
    doc = "gpio_request() of the demo board returns -EBUSY."
    gates: ClassVar[Mapping[str, Gate]] = {
        "first_line": Gate(int, 0, 0, "Exempt lines with a smaller number."),
    }

    def should_fail(self, line: int, frame: FrameType) -> bool:
        """Whether the request of this line fails; `frame` is the one that asks for it."""
        if line < self.first_line:
            return False
        return self.consult(1, frame=frame)


fail_gpio_request = FailGpioRequest()


@hookimpl
def faultinject_capabilities() -> list[Capability]:
    """Tell faultinject what this package adds."""
    return [fail_gpio_request]
