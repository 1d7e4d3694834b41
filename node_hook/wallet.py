"""Where the publisher's credentials come from, kept fresh.

In this order: the environment, the instance profile, and whatever else the distribution's AWS
library finds (shared files, containers), if it is installed.
"""

from __future__ import annotations

import os
from typing import Any, Optional

from node_hook.imds import Imds, ImdsError
from node_hook.sigv4 import Credentials

REFRESH_SECONDS = 600.0
"""Role credentials are renewed this long before they expire; AWS has new ones five minutes ahead."""

AGAIN_SECONDS = 60.0
"""Between two questions for newer credentials while the old ones still work."""


class NoCredentials(Exception):
    """Nothing to sign with; the text says where was looked."""


class Wallet:
    """Credentials for now. `now` is AWS's time: the local clock may be days off."""

    def __init__(self, imds: Imds) -> None:
        self._imds = imds
        self._kept: Optional[Credentials] = None
        self._asked_at = 0.0

    def current(self, now: float) -> Credentials:
        """Credentials that work at `now`. Raises NoCredentials."""
        kept = self._kept
        if kept is not None and not self._is_due(kept, now):
            return kept
        self._asked_at = now
        try:
            self._kept = self._find()
        except NoCredentials:
            if kept is None or kept.expires is None or kept.expires <= now:
                raise
            # The old ones work for some minutes yet, so nobody needs to hear of this.
            self._kept = kept
        return self._kept

    def forget(self) -> None:
        """AWS refused them: ask anew."""
        self._kept = None

    def _is_due(self, kept: Credentials, now: float) -> bool:
        if kept.expires is None or now < kept.expires - REFRESH_SECONDS:
            return False
        return now - self._asked_at > AGAIN_SECONDS or now > kept.expires

    def _find(self) -> Credentials:
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if key and secret:
            return Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
        try:
            return self._imds.credentials()
        except ImdsError as error:
            found = _library()
            if found is None:
                raise NoCredentials(f"no AWS credentials: {error}") from error
            return found


def _library() -> Optional[Credentials]:
    """What the AWS library finds in its other places; None if it is absent or finds nothing."""
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError:
        return None
    session: Any = botocore.session.Session()
    session.set_config_variable("metadata_service_num_attempts", 1)
    session.set_config_variable("metadata_service_timeout", 1)
    try:
        found = session.get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except botocore.exceptions.BotoCoreError as error:
        raise NoCredentials(f"no AWS credentials: {error}") from error
    return frozen and Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
