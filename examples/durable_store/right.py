"""A store in one file: what `put` has returned for is there, whatever happens next.

The new contents go to a file beside the old one and reach the disk before they take its
name. A failure on the way leaves the old file as it was, and is the caller's to hear of.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


class Store:
    """Texts by key, in a file that is always whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.items = self._load()

    def put(self, key: str, value: str) -> None:
        """Keep `value`. Raises `OSError`, and has changed nothing then."""
        items = {**self.items, key: value}
        self._save(json.dumps(items))
        self.items = items

    def _load(self) -> dict[str, str]:
        try:
            with open(self.path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return {}
        items: dict[str, str] = json.loads(text)
        return items

    def _save(self, text: str) -> None:
        scratch = self.path.with_suffix(".new")
        try:
            with open(scratch, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, self.path)
        except OSError:
            with suppress(OSError):
                os.unlink(scratch)
            raise
        self._sync_folder()

    def _sync_folder(self) -> None:
        """See to it that the name, too, is on the disk."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
