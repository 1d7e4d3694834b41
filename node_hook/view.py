"""state.json: what the publisher knows, for people and for the node script. No decision rests on it."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Dict

log = logging.getLogger("baton")


class View:
    """The file, replaced as a whole each time. It lies in /run and need not survive anything."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._failed = False

    def show(self, shown: Dict[str, Any]) -> None:
        """Replace it."""
        try:
            with open(f"{self._path}.new", "w", encoding="utf-8") as file:
                json.dump(shown, file, indent=1)
            os.replace(f"{self._path}.new", self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.error("%s cannot be written, and shows an old state: %s", self._path, error)
            self._failed = True
