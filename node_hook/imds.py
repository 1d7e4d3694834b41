"""The instance metadata service, version 2: who this instance is, and its role's credentials."""

from __future__ import annotations

import calendar
import http.client
import json
import os
import time
import urllib.parse
from typing import Dict, Optional

from node_hook.sigv4 import Credentials

ENDPOINT = "http://169.254.169.254"

TIMEOUT_SECONDS = 1.0
"""It answers from the host itself in a millisecond. A host that may not ask gets no answer at all."""

TOKEN_SECONDS = 6 * 3600
"""The longest that a token may live; a new one is asked for when it is refused."""


class ImdsError(Exception):
    """The metadata service did not answer, or has no such thing."""


class Imds:
    """A session with the metadata service, which keeps its token."""

    def __init__(self, endpoint: Optional[str] = None) -> None:
        named = endpoint or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ENDPOINT
        self._host = urllib.parse.urlsplit(named).netloc
        self._token = ""

    def instance_id(self) -> str:
        """This instance's id."""
        return self.get("/latest/meta-data/instance-id")

    def region(self) -> str:
        """The Region this instance runs in."""
        return self.get("/latest/meta-data/placement/region")

    def credentials(self) -> Credentials:
        """Credentials of the role in this instance's profile."""
        base = "/latest/meta-data/iam/security-credentials/"
        names = self.get(base).split()
        if not names:
            raise ImdsError("this instance has no instance profile: attach the node profile to it")
        text = self.get(base + names[0])
        try:
            found = json.loads(text)
            moment = time.strptime(found["Expiration"], "%Y-%m-%dT%H:%M:%SZ")
            return Credentials(
                found["AccessKeyId"],
                found["SecretAccessKey"],
                found["Token"],
                float(calendar.timegm(moment)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ImdsError(f"the metadata service gave no credentials: {text[:200]}") from error

    def get(self, path: str) -> str:
        """The text at this path. Raises ImdsError."""
        for fresh in (not self._token, True):
            if fresh:
                seconds = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
                status, self._token = self._ask("PUT", "/latest/api/token", seconds)
            status, text = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token})
            if status != 401:
                break
        if status != 200:
            raise ImdsError(f"the metadata service answers {status} for {path}")
        return text.strip()

    def _ask(self, method: str, path: str, headers: Dict[str, str]) -> "tuple[int, str]":
        # No proxy: the address is link-local, and a proxy would answer for its own instance.
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(65536).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise ImdsError(f"the metadata service at {self._host} does not answer: {error}") from error
        finally:
            connection.close()
