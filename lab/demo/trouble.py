"""What can go wrong with a demo, apart from Baton."""

from __future__ import annotations


class Trouble(Exception):
    """The lab itself does not do what it should: nothing can be said of Baton."""


class NotSeen(Trouble):
    """Something that was awaited did not come about in time."""


class NoFault(Trouble):
    """A scenario's fault was not seen to occur: it proves nothing."""
