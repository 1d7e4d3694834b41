"""`./baton resume`: see `pausing`."""

from __future__ import annotations

from chalicelib.clusters import CACHE_SECONDS
from cli.pausing import make_command

command = make_command(
    False,
    "End the pause of CLUSTER: what keepalived decided meanwhile is followed.",
    f"{{cluster}} is resumed: within {CACHE_SECONDS} s Baton follows keepalived again.",
    "{cluster} is not paused; nothing was changed.",
)
