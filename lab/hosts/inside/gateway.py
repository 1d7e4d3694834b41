"""The hosts' only way out: a port in the switch that leads to one address of the machine.

    gateway.py SWITCH_PID BIND_ADDRESS PORT TARGET_ADDRESS TARGET_PORT READY_FD

Listens in the switch's network namespace and connects in the machine's. So the machine gets no
interface, route or rule from a lab, any number of labs run at once, and hosts reach nothing else.
"""

import asyncio
import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
CHUNK_BYTES = 65536


def enter(namespace: str) -> None:
    """Let this thread's new sockets belong to a network namespace."""
    handle = os.open(namespace, os.O_RDONLY)
    if LIBC.setns(handle, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(handle)


def listener(switch: str, address: str, port: int) -> socket.socket:
    """A listening socket inside the switch; this process stays in the machine's namespace."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter(f"/proc/{switch}/ns/net")
    server = socket.create_server((address, port), backlog=128)
    if LIBC.setns(own, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot come back from the switch's namespace")
    return server


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, until one side ends."""
    try:
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, both ways."""
    try:
        far_reader, far_writer = await asyncio.open_connection(sys.argv[4], int(sys.argv[5]))
    except OSError:
        writer.close()
        return
    for stream in (writer, far_writer):
        stream.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
    for stream in (writer, far_writer):
        stream.close()


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(relay, sock=listener(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    os.write(int(sys.argv[6]), b"up")
    os.close(int(sys.argv[6]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
