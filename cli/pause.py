"""`./baton pause`: see `pausing`."""

from __future__ import annotations

from chalicelib.clusters import CACHE_SECONDS
from cli.pausing import make_command

command = make_command(
    True,
    "Begin no hand-over of CLUSTER until it is resumed; one that was begun is finished.",
    f"{{cluster}} is paused: within {CACHE_SECONDS} s no hand-over begins any more.\n"
    "./baton resume {cluster} ends the pause.",
    "{cluster} is paused already; nothing was changed.",
)
