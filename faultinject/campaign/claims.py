"""Claims: processes that share a run agree on who tries what, one file for each aim.

Lives here: `Claims`. Not here: what a process wants to try
(`faultinject.campaign.assignment`), who makes the folder and removes it (the front-end).
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from pathlib import Path

from faultinject.campaign.aim import Aim


class Claims:
    """What is already somebody's, of all that the processes of one run could try.

    Args:
        folder: an empty one that all of them see, made for this run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, aim: Aim) -> bool:
        """Claim an aim; False if another process has.

        Where the folder is gone or cannot be written nobody knows, and it is claimed.
        """
        try:
            os.close(os.open(self._place(aim), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        except OSError:
            return True
        return True

    def give_back(self, aim: Aim) -> None:
        """Let another process claim what this one has claimed and did not try."""
        with contextlib.suppress(OSError):
            self._place(aim).unlink()

    def _place(self, aim: Aim) -> Path:
        return self._folder / sha256(repr(aim.as_plain()).encode()).hexdigest()[:32]
