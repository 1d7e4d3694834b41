"""The HTTP endpoint: moto's application in a werkzeug server with bounded start and stop."""

from __future__ import annotations

import logging
import threading

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server


class _Handler(MotoRequestHandler):  # type: ignore[misc]
    disable_nagle_algorithm = True
    timeout = 120.0
    """Seconds that a connection may say nothing."""


class Server:
    """Serves in a thread of its own; requests in daemon threads."""

    def __init__(self, host: str, port: int) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(host, port, application, threaded=True, request_handler=_Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="cloud-server", daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def stop(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
