"""What can go wrong with a demo, apart from Baton."""

from __future__ import annotations

from botocore.exceptions import ClientError

from lab.hosts.bounded import Failed, Stuck
from lab.hosts.host import HostDown


class Trouble(Exception):
    """The lab itself does not do what it should: nothing can be said of Baton."""


class NotSeen(Trouble):
    """Something that was awaited did not come about in time."""


class NoFault(Trouble):
    """A scenario's fault was not seen to occur: it proves nothing."""


FAILURES = (Trouble, Failed, Stuck, HostDown, ClientError)
"""What a fault or a repair can end in: a host that is off by then, a program that hangs, a refusal of AWS."""
