"""The prefix of a log line: what syslog, dmesg and their like write before the kernel's text.

Lives here: taking it off, and what it tells about who printed the line. Not here: what the
text means (`faultinject.klog.mem_info`, `faultinject.klog.headers`).

Known forms, alone and one after the other: quoting (``> ``), priorities (``<4>``,
``kern  :warn  : ``), records of /dev/kmsg and netconsole (``4,1234,5678,-;``), the date
and host of syslog, rsyslog and journalctl, dmesg's time (``[ 1234.567890]``, ``-T``) and
the number of the task or CPU that printed (``[ T5241]``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_MONTH = r"[A-Z][a-z]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"

_PREFIX = re.compile(
    rf"""
    (?:>[ \t]?)*
    (?:<[0-9]{{1,3}}>1?[ \t]*)?
    (?P<log>
      (?:
        (?:{_MONTH}[ ][ 0-9][0-9][ ](?:[0-9]{{4}}[ ])?{_CLOCK}
          |[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?
        )[ ]
        (?:[\w.:-]+[ ])?(?:kernel(?:\[[0-9]+\])?(?::|[ ]-[ ]-[ ]-)[ ]?)?
      )?
      (?:[a-z0-9]+[ ]*:[a-z]+[ ]*:[ ])?
      (?:[0-9]+,[0-9]+,[0-9]+,[^;\s]*;)?
      (?:\[[ ]*[0-9]+\.[0-9]+\][ ]?
        |\[{_MONTH}[ ]{_MONTH}[ ][ 0-9][0-9][ ]{_CLOCK}[ ][0-9]{{4}}\][ ]?
      )?
      (?:\[[ ]*(?P<task>[TC][0-9]+)\][ ]?)?
      (?:[\w.-]+[ ]kernel:[ ])?
    )
    """,
    re.VERBOSE | re.ASCII,
)


class Prefixed(NamedTuple):
    """A log line, taken apart.

    Attributes:
        text: what the kernel printed, spaces at its beginning included.
        task: who printed it (``T5241``: a task, ``C3``: a CPU), or "" if the log does
            not tell.
        dated: whether there was a prefix of a log. In a log whose lines have one, a line
            without is the rest of the line before.
    """

    text: str
    task: str
    dated: bool


def strip_prefix(line: str) -> Prefixed:
    """Take a line's prefix off; a line without one is all text."""
    found = _PREFIX.match(line)
    if found is None:  # pragma: no cover - every part may be missing
        return Prefixed(line, "", False)
    return Prefixed(line[found.end() :], found["task"] or "", bool(found["log"]))
