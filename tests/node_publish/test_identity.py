"""Who the node is and what it signs with: metadata service, credentials, signature, role id."""

from __future__ import annotations

import datetime
import http.server
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as LibraryCredentials
from hypothesis import given
from hypothesis import strategies as st

from node_hook import sigv4
from node_hook.imds import Imds, ImdsError
from node_hook.wallet import NoCredentials, Wallet
from tests.node_publish.stage import Node, stage, wait


class Metadata:
    """A metadata service of version 2, and STS beside it."""

    def __init__(self) -> None:
        self.token = "token-1"
        self.asked: list[str] = []
        self.pages: dict[str, str] = {"/latest/meta-data/instance-id": "i-0123456789abcdef0"}
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self._answer(200, service.token)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                service.asked.append("sts")
                self._answer(200, "<UserId>AROAFROMSTS00000:i-0123456789abcdef0</UserId>")

            def do_GET(self) -> None:
                service.asked.append(self.path)
                if self.headers["x-aws-ec2-metadata-token"] != service.token:
                    return self._answer(401, "")
                text = service.pages.get(self.path)
                return self._answer(200 if text else 404, text or "")

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def role(self, key: str, expires: float) -> None:
        """Give the instance profile's role these credentials."""
        base = "/latest/meta-data/iam/security-credentials/"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
        self.pages[base] = "baton-node"
        self.pages[base + "baton-node"] = (
            f'{{"AccessKeyId": "{key}", "SecretAccessKey": "s", "Token": "t", "Expiration": "{stamp}"}}'
        )


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """A metadata service, and no credentials in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    made = Metadata()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_instance_id(metadata: Metadata) -> None:
    """Asked with a token; a token that is refused is renewed, once."""
    imds = Imds(metadata.url)
    assert imds.instance_id() == "i-0123456789abcdef0"
    metadata.token = "token-2"
    assert imds.instance_id() == "i-0123456789abcdef0"
    with pytest.raises(ImdsError, match="404"):
        imds.get("/latest/nothing")


def test_a_metadata_service_that_hangs_is_left() -> None:
    """A host that may not ask gets no answer; that takes a second."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        began = time.monotonic()
        with pytest.raises(ImdsError, match="does not answer"):
            Imds(f"http://127.0.0.1:{deaf.getsockname()[1]}").instance_id()
        assert time.monotonic() - began < 3


def test_credentials_are_renewed_before_they_expire(metadata: Metadata) -> None:
    """Kept while they are good, renewed ten minutes before the end; the old ones bridge a gap."""
    wallet = Wallet(Imds(metadata.url))
    metadata.role("first", 10_000)
    assert wallet.current(5_000).key == "first"
    metadata.role("second", 20_000)
    assert wallet.current(9_000).key == "first"
    assert wallet.current(9_500).key == "second"
    metadata.pages.clear()
    assert wallet.current(19_900).key == "second"
    with pytest.raises(NoCredentials):
        wallet.current(20_001)


def test_no_profile_is_said(metadata: Metadata) -> None:
    """An instance without a profile: the error says what to attach."""
    metadata.pages["/latest/meta-data/iam/security-credentials/"] = " "
    with pytest.raises(NoCredentials, match="instance profile"):
        Wallet(Imds(metadata.url)).current(0)


@given(st.text(max_size=300), st.sampled_from(["", "session/token=="]), st.integers(10**9, 2 * 10**9))
def test_the_signature_is_the_librarys(body: str, token: str, moment: int) -> None:
    """The AWS library signs the same request with the same signature."""
    extra = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSEvents.PutEvents"}
    service = sigv4.Service("events", "eu-west-1", "events.eu-west-1.amazonaws.com")
    keys = sigv4.Credentials("AKIDEXAMPLE", "secret/+", token)
    ours = sigv4.headers(service, keys, extra, body.encode(), moment)
    request: Any = AWSRequest("POST", "https://events.eu-west-1.amazonaws.com/", dict(extra), body.encode())
    stamp = datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    signer: Any = SigV4Auth(LibraryCredentials("AKIDEXAMPLE", "secret/+", token), "events", "eu-west-1")
    request.context["timestamp"] = stamp
    request.headers = HTTPHeaders.from_dict({**extra, "X-Amz-Date": stamp})
    if token:
        request.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours["authorization"].endswith(f"Signature={signature}")


def test_the_role_id_is_asked_once(metadata: Metadata, tmp_path: Path) -> None:
    """Without role_id in node.json it is asked of STS once, and kept on disk."""
    metadata.role("key", time.time() + 3600)
    with stage(tmp_path, role_id=None, node=None) as node:
        for _ in range(2):
            _start(node, metadata)
            node.stop()
        assert {entry["Source"] for entry in node.bus.entries} == {
            "baton.test.node/AROAFROMSTS00000:i-0123456789abcdef0"
        }
        assert metadata.asked.count("sts") == 1


def test_credentials_that_aws_refuses_are_replaced(metadata: Metadata, tmp_path: Path) -> None:
    """Revoked before their time: the next try is signed with what the metadata service has now."""
    metadata.role("REVOKED", time.time() + 3600)
    with stage(tmp_path) as node:
        _start(node, metadata)
        metadata.role("FRESH", time.time() + 3600)

        def strict(call: int, entries: list[dict[str, Any]]) -> object:
            revoked = "Credential=REVOKED/" in node.bus.headers[-1]["authorization"]
            return (403, {"__type": "ExpiredTokenException"}) if revoked else None

        node.bus.behave = strict
        node.keepalived()
        node.vrrp("MASTER")
        wait(lambda: node.bus.words("transition"), node)
        assert "ExpiredTokenException" in node.log
        assert "Credential=FRESH/" in node.bus.headers[-1]["authorization"]


def _start(node: Node, metadata: Metadata) -> None:
    """Start a publisher whose STS is the metadata server, and whose credentials are its role's."""
    before = len(node.bus.words("start"))
    node.configure(endpoint_url=None)
    node.start(
        AWS_ENDPOINT_URL=node.bus.url,
        AWS_ENDPOINT_URL_STS=metadata.url,
        AWS_ACCESS_KEY_ID="",
        AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url,
    )
    wait(lambda: len(node.bus.words("start")) > before, node)
