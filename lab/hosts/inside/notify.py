"""sd_notify's other end: a service of Type=notify is up when it says READY=1."""

import contextlib
import os
import socket
import subprocess
from types import TracebackType

POLL_SECONDS = 0.1


class Listener:
    """The notify socket of one run of a service; for other types, up at once."""

    def __init__(self, path: str, wanted: bool) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        if wanted:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(path)
            self._socket.settimeout(POLL_SECONDS)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket:
            self._socket.close()

    def environment(self) -> dict[str, str]:
        """What tells the service where to say so."""
        return {"NOTIFY_SOCKET": self._path} if self._socket else {}

    def ready(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until the service says that it is up; False if it ended before."""
        while self._socket:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in self._socket.recv(4096):
                    return True
            if process.poll() is not None:
                return False
        return True
