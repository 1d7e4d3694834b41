"""Bounded child: the system calls on a block device or filesystem that may hang in the kernel.

device.py shutdown PATH    shut the filesystem at PATH down, without writing its log out
device.py yank DEVICE      cut a loop device to one sector: all further I/O fails
"""

import errno
import fcntl
import os
import struct
import sys

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
"""What is in memory only is lost, as at a power cut; XFS and ext4 both know it."""

LOOP_GET_STATUS64 = 0x4C05
LOOP_SET_STATUS64 = 0x4C04
LOOP_INFO64_BYTES = 232
SIZELIMIT_OFFSET = 32
"""`lo_sizelimit` in struct loop_info64, after device, inode, rdevice and offset."""


def shutdown(path: str) -> None:
    """After this the filesystem reads and writes nothing any more, and keeps no one waiting.

    One whose device was pulled has shut itself down already, and says so with EIO.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(handle, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def yank(device: str) -> None:
    """As when an NVMe device is unplugged; the image behind stays whole."""
    handle = os.open(device, os.O_RDONLY)
    info = bytearray(LOOP_INFO64_BYTES)
    fcntl.ioctl(handle, LOOP_GET_STATUS64, info)
    struct.pack_into("<Q", info, SIZELIMIT_OFFSET, 512)
    fcntl.ioctl(handle, LOOP_SET_STATUS64, bytes(info))


if __name__ == "__main__":
    {"shutdown": shutdown, "yank": yank}[sys.argv[1]](sys.argv[2])
