"""The prefix of a log line: what syslog, dmesg and their like write before the kernel's text.

Lives here: taking it off, and what it tells about who printed the line. Not here: what the
text means (`faultinject.mm.mem_info`, `faultinject.klog.headers`).

Known forms, alone and one after the other: quoting (``> ``) and indentation; priorities
(``<4>``, ``kern  :warn  : ``, ``kern.warn``); records of /dev/kmsg and netconsole
(``4,1234,5678,-;``); the date, host and tag of syslog, rsyslog, busybox, journalctl and
logcat; dmesg's time (``[ 1234.567890]``, ``-T``, ``-d``, ``-H``, ``--time-format=iso``) and
the number of the task or CPU that printed (``[ T5241]``).
"""

from __future__ import annotations

import re

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
_ISO = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}"

# Who logged: a host, a facility, and the kernel. A word alone may be the kernel's text.
_TAG = r"""
    (?:[\w.:-]+[ ])?(?:[a-z0-9]+\.[a-z]+[ ])?(?:kernel|klogd|vmunix)(?:\[[0-9]+\])?
    (?::|[ ]-[ ]-[ ]-)[ ]?
"""
_PART = rf"""
    <[0-9]{{1,3}}>1?[ \t]*
    |(?:{_DAY}[ ])?{_MONTH}[ ][ 0-9][0-9][ ](?:[0-9]{{4}}[ ])?{_CLOCK}[ ](?:[0-9]{{4}}[ ])?
    |{_DAY}[ ]{_ISO}[ ][A-Z]{{2,5}}[ ]
    |{_ISO}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?[ ]
    |[0-9]{{9,11}}\.[0-9]{{3,9}}[ ](?=\S+[ ]kernel)
    |[0-9]{{2}}-[0-9]{{2}}[ ]{_CLOCK}[ ]+[0-9]+[ ]+[0-9]+[ ][VDIWEF][ ][^:\s]*[ ]*:[ ]
    |[a-z0-9]+[ ]*:[a-z]+[ ]*:[ ]
    |[a-z0-9]+\.[a-z]+:[ ]
    |[0-9]+,[0-9]+,[0-9]+,[^;\s]*;
    |\[[ ]*[0-9]+\.[0-9]+(?:[ ]<[ ]*\+?[0-9.]+>)?\](?:@[0-9]+)?[ ]?(?:c[0-9]+[ ]+[0-9]+[ ])?
    |\[[ ]*\+[0-9]+\.[0-9]+\][ ]?
    |\[{_DAY}[ ]{_MONTH}[ ][ 0-9][0-9][ ]{_CLOCK}[ ][0-9]{{4}}\][ ]?
    |\[{_MONTH}[ ]+[0-9]{{1,2}}[ ][0-9]{{2}}:[0-9]{{2}}\][ ]?
"""
_PREFIX = re.compile(
    rf"""
    (?:>[ \t]?)*
    (?:[ \t]*(?P<log>
      (?:{_PART}|(?:kernel|klogd):[ ])
      (?:{_PART}|\[[ ]*(?P<task>[TC][0-9]+)\][ ]?|{_TAG}|[\w.-]+[ ](?=\[[ ]*[0-9]+\.[0-9]+\]))*
    ))?
    """,
    re.VERBOSE | re.ASCII,
)
# What most lines have, and nothing more of the above.
_DMESG = re.compile(r"\[ *[0-9]+\.[0-9]+\] (?![\[<c]|\S+ kernel:)", re.ASCII)


def strip_prefix(line: str) -> tuple[str, str, bool]:
    """Take a line's prefix off; a line without one is all text.

    Returns:
        what the kernel printed, spaces at its beginning included; who printed it (``T5241``:
        a task, ``C3``: a CPU), or "" if the log does not tell; and whether there was a prefix
        of a log. In a log whose lines have one, a line without is the rest of the line before.
    """
    if (found := _DMESG.match(line)) is not None:
        return line[found.end() :], "", True
    found = _PREFIX.match(line)
    if found is None:  # pragma: no cover - every part may be missing
        return line, "", False
    log, task = found.groups()
    return line[found.end() :], task or "", bool(log)
