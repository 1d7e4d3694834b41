"""PutEvents over one warm connection, and the identity under which this node may speak.

One call is one request: bounded in time, never retried here. What comes back is either a verdict
for each entry or `Trouble`, after which nobody knows whether the events were taken.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import time
import urllib.parse
from email.utils import parsedate_to_datetime
from typing import Any, Dict, List, Optional, Tuple

from node_hook import sigv4
from node_hook.wallet import NoCredentials, Wallet

CONNECT_SECONDS = 3.0
READ_SECONDS = 3.0
"""PutEvents answers within 100 ms. A hung endpoint is left for a fresh connection after this."""

IDLE_SECONDS = 45.0
"""AWS closes idle connections after a minute or so; a younger one is taken to be alive."""

SKEW_SECONDS = 60.0
"""A clock this wrong is told. AWS refuses signatures beyond five minutes."""

LOOK_SECONDS = 30.0
"""Between two looks at AWS's clock while all goes well."""

MOST_ENTRIES = 10
"""PutEvents takes no more in one call."""


class Trouble(Exception):
    """The call failed as a whole, or its answer was lost. `code` is AWS's, or the kind of failure."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Endpoint:
    """One AWS service behind one connection. Not for use by several threads."""

    def __init__(self, name: str, region: str, url: Optional[str], wallet: Wallet) -> None:
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        parts = urllib.parse.urlsplit(url or f"https://{name}.{region}.{suffix}")
        self._service = sigv4.Service(name, region, parts.netloc, parts.path or "/")
        self._secure = parts.scheme == "https"
        self._wallet = wallet
        self._connection: Optional[http.client.HTTPConnection] = None
        self._used_at = 0.0
        self._looked_at = float("-inf")
        self.skew = 0.0
        """Seconds that AWS's clock is ahead of ours (negative: ours is), if that is worth telling."""

    def post(self, extra: Dict[str, str], body: bytes) -> bytes:
        """Sign and send. Raises Trouble for anything but status 200."""
        now = time.time() + self.skew
        try:
            signed = sigv4.headers(self._service, self._wallet.current(now), extra, body, now)
        except NoCredentials as error:
            raise Trouble("NoCredentials", str(error)) from error
        try:
            status, headers, content = self._exchange(signed, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Trouble("NoAnswer", f"{self._service.host}: {error or type(error).__name__}") from error
        if status != 200 or time.monotonic() > self._looked_at + LOOK_SECONDS:
            self._look_at_clock(headers.get("date"))
        if status != 200:
            raise self._refusal(status, content)
        return content

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, headers: Dict[str, str], body: bytes) -> "Tuple[int, Any, bytes]":
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self.close()
        connection = self._connection or self._connect()
        connection.request("POST", self._service.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self._used_at = time.monotonic()
        if answer.will_close:
            self.close()
        return answer.status, answer.headers, content

    def _connect(self) -> http.client.HTTPConnection:
        made: http.client.HTTPConnection
        if self._secure:
            context = ssl.create_default_context()
            made = http.client.HTTPSConnection(self._service.host, timeout=CONNECT_SECONDS, context=context)
        else:
            made = http.client.HTTPConnection(self._service.host, timeout=CONNECT_SECONDS)
        made.connect()
        made.sock.settimeout(READ_SECONDS)
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = made
        return made

    def _look_at_clock(self, date: Optional[str]) -> None:
        """Sign with AWS's time if ours is wrong: a word is worth more than a tidy clock."""
        self._looked_at = time.monotonic()
        try:
            there = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        skew = there - time.time()
        self.skew = skew if abs(skew) > SKEW_SECONDS else 0.0

    def _refusal(self, status: int, content: bytes) -> Trouble:
        code, text = f"Http{status}", content[:300].decode("utf-8", "replace")
        try:
            found = json.loads(content)
            code = str(found.get("__type", code)).rpartition("#")[2]
            text = str(found.get("message") or found.get("Message") or "")
        except (ValueError, AttributeError):
            match = re.search(r"<Code>(\w+)</Code>", text)
            code = match.group(1) if match else code
        if status in (400, 403):
            # Expired or revoked credentials look like this; the next try asks for new ones.
            self._wallet.forget()
        return Trouble(code, text)


class Bus:
    """The default event bus of this account and Region."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def put(self, source: str, details: List[str]) -> List[str]:
        """Put words; for each its error code, "" where the bus took it. Raises Trouble."""
        entries = [{"Source": source, "DetailType": "Baton Word", "Detail": detail} for detail in details]
        extra = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": "AWSEvents.PutEvents",
        }
        content = self.endpoint.post(extra, json.dumps({"Entries": entries}).encode())
        try:
            found = json.loads(content)
            codes = [str(entry.get("ErrorCode") or "") for entry in found["Entries"]]
            failed = int(found.get("FailedEntryCount", 0))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Trouble("BadAnswer", f"{content[:200]!r}") from error
        if len(codes) != len(details) or (failed and not any(codes)):
            raise Trouble("BadAnswer", f"{content[:200]!r}")
        return codes


def caller(region: str, url: Optional[str], wallet: Wallet) -> str:
    """`aws:userid` of these credentials, for a node `role id:instance id`. Raises Trouble."""
    endpoint = Endpoint("sts", region, url, wallet)
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    kind = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    try:
        try:
            text = endpoint.post(kind, body).decode("utf-8", "replace")
        except Trouble:
            if not endpoint.skew:
                raise
            text = endpoint.post(kind, body).decode("utf-8", "replace")
    finally:
        endpoint.close()
    match = re.search(r"<UserId>([^<\s]+)</UserId>", text)
    if match is None:
        raise Trouble("BadAnswer", text[:200])
    return match.group(1)
