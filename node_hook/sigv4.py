"""Signature Version 4 for a POST to one AWS service.

The AWS library signs too, but a PutEvents through it takes four times as long as the bare request
(measured: 1.5 ms against 0.4), and it signs with the local clock, which AWS refuses when it is more
than five minutes wrong. Here the time comes from the caller, who may know better.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Dict


@dataclass(frozen=True)
class Credentials:
    """An access key; `expires` in POSIX seconds, None for one that does not."""

    key: str
    secret: str
    token: str = ""
    expires: "float | None" = None


@dataclass(frozen=True)
class Service:
    """Who is spoken to: what is signed beside the request itself."""

    name: str
    region: str
    host: str
    path: str = "/"


def headers(
    service: Service, credentials: Credentials, extra: Dict[str, str], body: bytes, now: float
) -> Dict[str, str]:
    """The request's headers, `extra` among them, with the signature."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    found = {"host": service.host, "x-amz-date": stamp}
    found.update({name.lower(): value for name, value in extra.items()})
    if credentials.token:
        found["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(found))
    lines = "".join(f"{name}:{found[name]}\n" for name in sorted(found))
    digest = hashlib.sha256(body).hexdigest()
    request = f"POST\n{service.path}\n\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/{service.region}/{service.name}/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    found["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope}, "
        f"SignedHeaders={names}, Signature={_hmac(key, text).hex()}"
    )
    return found


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
