"""What follows about a node from its words, the record and the observation. Pure.

Each question has one answer here, so that ownership and hand-over cannot disagree about it.
Unknown is never "stopped" and never "able": what was not said or observed counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib import timing
from chalicelib.asking import backoff, was_sent
from chalicelib.model import (
    Attached,
    Cluster,
    Detach,
    Fence,
    FencePolicy,
    Intent,
    Move,
    Observation,
    Outcome,
    Power,
    Record,
    Verb,
    Vrrp,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """A cluster's definition, its record, and what EC2 and SSM say now."""

    cluster: Cluster
    record: Record
    seen: Observation

    @property
    def now(self) -> float:
        """The time of the observation, POSIX seconds."""
        return self.seen.at

    # ------------------------------------------------------------------------------- words

    def claims(self, node: str) -> bool:
        """Whether the node's latest word is MASTER and no epoch was decided against it."""
        word = self.record.word(node)
        return (
            word is not None
            and word.state is Vrrp.MASTER
            and word.sequence > self.record.seat(node).spent
            and not self.is_booting(node)
        )

    def is_fresh(self, node: str) -> bool:
        """Whether its word is young enough to say something about now."""
        word = self.record.word(node)
        return word is not None and self.now - word.said_at < self.cluster.fresh_seconds

    def is_able(self, node: str) -> bool:
        """Whether the node may gain ownership: EC2 says running, and it can be commanded."""
        word, seat = self.record.word(node), self.record.seat(node)
        return (
            node in self.cluster.nodes
            and word is not None
            and word.agent
            and word.state is not Vrrp.STOP
            and self.is_fresh(node)
            and self.seen.power(node) is Power.RUNNING
            and seat.silent_since is None
            and (seat.failed_at is None or self.now >= seat.failed_at + backoff(seat.failures))
        )

    def serves(self, node: str) -> bool:
        """Whether its latest word says that something is mounted there."""
        word = self.record.word(node)
        return word is not None and word.serving is not None

    def is_backup(self, node: str) -> bool:
        """Whether its latest word says that it stands by."""
        word = self.record.word(node)
        return word is not None and word.state is Vrrp.BACKUP

    def claimants(self) -> tuple[str, ...]:
        """The nodes that claim: the highest priority first, then by id."""
        nodes = [node for node in self.cluster.nodes if self.claims(node)]
        return tuple(sorted(nodes, key=self.rank))

    def rank(self, node: str) -> tuple[int, str]:
        """The order in which nodes are preferred."""
        word = self.record.word(node)
        return (-(word.priority if word else 0), node)

    # ----------------------------------------------------------------------------- holders

    def holders(self) -> tuple[str, ...]:
        """Every node that may be holding a resource, the owner among them."""
        nodes = {seat.node for seat in self.record.seats if seat.held is not None}
        nodes.update(node for node in (self.record.previous,) if node)
        nodes.update(a.node for v in self.seen.volumes for a in v.attachments)
        nodes.update(a.holder for a in self.seen.addresses if a.holder)
        nodes.update((self.record.owner or "",) if self._is_mending() else ())
        return tuple(sorted(nodes & set(self.cluster.nodes)))

    def is_off(self, node: str) -> bool:
        """Whether EC2 says now, or a person said in this epoch, that this host writes no more."""
        return self.seen.power(node).is_off or self.is_confirmed(node)

    def is_confirmed(self, node: str) -> bool:
        """Whether a person said so, and the node has said nothing since."""
        seat, word = self.record.seat(node), self.record.word(node)
        speaks = seat.confirmed_at is not None and word is not None and word.said_at > seat.confirmed_at
        return 0 < seat.confirmed == self.record.epoch and not speaks

    def is_leaving(self, node: str) -> bool:
        """Whether EC2 says that it is being stopped or terminated: it has no future as an owner."""
        return self.seen.power(node) in (Power.STOPPING, Power.SHUTTING_DOWN)

    def is_released(self, node: str) -> bool:
        """Whether the node itself says that it holds nothing and will mount nothing older."""
        word, held = self.record.word(node), self.record.seat(node).held
        if word is None or word.serving is not None:
            return False
        if held is None:  # no Acquire is on its way to it; but before Baton knew it, who knows
            return self.record.previous is not None or word.highest >= self.record.epoch
        return word.released >= held.epoch or word.boot != held.boot

    def is_clear(self, node: str) -> bool:
        """Whether the node cannot be holding: released by its own word, or fenced by EC2's."""
        return self.is_off(node) or self.is_released(node) or self.is_forced(node)

    def is_forced(self, node: str) -> bool:
        """Whether the policy says that one that is overdue and has no volume any more holds nothing.

        In an epoch after the one that took its volumes by force, it is overdue again before that.
        """
        gone = all(a.node != node for v in self.seen.volumes for a in v.attachments)
        allowed = self.cluster.fence is FencePolicy.FORCE_DETACH
        return allowed and gone and self.sees_all() and self.is_overdue(node)

    def unclear(self) -> tuple[str, ...]:
        """The holders that have to let go before anything is taken from anybody."""
        owner = self.record.owner
        return tuple(
            node
            for node in self.holders()
            if (node != owner or self._is_mending()) and not self.is_clear(node)
        )

    def _is_mending(self) -> bool:
        """Whether the owner itself has to let go: until it is sent an Acquire in this epoch."""
        held = self.record.seat(self.record.owner or "").held
        return bool(self.record.mend) and (held is None or held.epoch < self.record.epoch)

    def may_fence(self) -> bool:
        """Whether the policy lets Baton act on a holder that does not answer."""
        return self.cluster.fence is not FencePolicy.NONE

    # ---------------------------------------------------------------------------- commands

    def answered(self, node: str, since: float | None = None) -> bool:
        """Whether it answered a `status` sent in this epoch (or since), in its present boot."""
        asked, word = self.record.asked(node, Verb.STATUS), self.record.word(node)
        return (
            asked is not None
            and asked.at >= (self.record.counted_from if since is None else since)
            and asked.answer is not None
            and asked.answer.word is not None
            and word is not None
            and asked.answer.word.boot == word.boot
        )

    def is_overdue(self, node: str) -> bool:
        """Whether a holder had its time to release, while the owner answered; or before a challenge.

        An owner that answered only in the second half of that time, or later, proves nothing about
        it: SSM may have been in trouble for both.
        """
        asked, silent = self.record.asked(node, Verb.RELEASE), self.record.seat(node).silent_since
        if asked is None or asked.command.epoch != self.record.epoch or self.is_booting(node):
            return False
        if not was_sent(asked):
            return False
        if asked.answer is None and silent is not None:
            challenged_at, granted_at = self.record.counted_from, self.record.granted_at
            if challenged_at < granted_at and challenged_at <= silent <= granted_at:
                return True  # it left the challenge that led to this epoch unanswered
        half_time = (asked.at + asked.command.deadline) / 2
        return self.now >= asked.command.deadline and self.answered_by(half_time)

    def answered_by(self, moment: float) -> bool:
        """Whether the owner, asked for `status` in this epoch, had answered by then."""
        owner = self.record.owner or ""
        asked = self.record.asked(owner, Verb.STATUS)
        at = asked.answered_at if asked is not None else None
        return self.answered(owner) and at is not None and at <= moment

    def is_booting(self, node: str) -> bool:
        """Whether it was started, by whomever, and has not yet said a word since; bounded."""
        power, seat = self.seen.power(node), self.record.seat(node)
        started = seat.started_at
        if power is Power.PENDING:
            return True
        word = self.record.word(node)
        if power is Power.RUNNING and seat.off_heard is not None:
            up_at = self.now if seat.up_at is None else seat.up_at
            is_mute = word is None or word.sequence <= seat.off_heard
            return is_mute and self.now - up_at < timing.BOOT_SECONDS
        return (
            power is Power.RUNNING
            and started is not None
            and self.now - started < timing.BOOT_SECONDS
            and (word is None or word.said_at <= started)
        )

    # ----------------------------------------------------------------------------- intents

    def pending(self, node: str) -> tuple[Intent, ...]:
        """Calls whose effect may still come and would take something from this node."""
        return tuple(i for i in self.record.intents if is_open(i, self.now) and takes(i, node))

    def fence_intent(self, node: str) -> Intent | None:
        """The Stop of this node in this epoch, if it may have happened and it was not started since."""
        started = self.record.seat(node).started_at or 0.0
        mine = [i for i in self.record.intents if i.action == Fence(node) and i.at > started]
        mine = [i for i in mine if i.outcome not in (Outcome.REFUSED, Outcome.NOT_YET)]
        return next((i for i in reversed(mine) if i.epoch == self.record.epoch), None)

    # ---------------------------------------------------------------------------- resources

    def sees_all(self) -> bool:
        """Whether EC2 said something of every volume and every address."""
        volumes = all(self.seen.volume(volume) for volume in self.cluster.volumes)
        return volumes and all(self.seen.address(address) for address in self.cluster.addresses)

    def is_adrift(self) -> bool:
        """Whether EC2 shows a resource elsewhere than on the owner that has, or may have, mounted."""
        owner = self.record.owner
        if owner is None or not self.sees_all():
            return False
        if self.record.settled:
            return not (self.volumes_at(owner) and self.addresses_at(owner))
        held = self.record.seat(owner).held
        was_told = held is not None and held.epoch == self.record.epoch
        is_wanted = was_told or (self.serves(owner) and not self.record.mend)
        return is_wanted and not self.volumes_at(owner)

    def volumes_at(self, node: str) -> bool:
        """Whether every volume is on this node, or on its way there, and on no other."""
        return all(self.is_at(volume, node) for volume in self.cluster.volumes)

    def is_at(self, volume: str, node: str) -> bool:
        """Whether a volume is on this node alone, attached or attaching."""
        view = self.seen.volume(volume)
        coming = (Attached.ATTACHING, Attached.ATTACHED)
        return view is not None and [a.node for a in view.attachments if a.state in coming] == [node] == [
            a.node for a in view.attachments
        ]

    def addresses_at(self, node: str) -> bool:
        """Whether every address is on this node's interface in the address's subnet."""
        views = [self.seen.address(address) for address in self.cluster.addresses]
        return all(v and v.interface and v.interface == v.target(node) for v in views)

    def is_settled(self) -> bool:
        """Owner, addresses and volumes agree; nobody else can hold; the owner serves this epoch."""
        owner = self.record.owner
        word = self.record.word(owner) if owner else None
        return (
            owner is not None
            and word is not None
            and word.serving == self.record.epoch
            and self.volumes_at(owner)
            and self.addresses_at(owner)
            and not self.unclear()
        )


def takes(intent: Intent, node: str) -> bool:
    """Whether an intended call would take something from this node."""
    action = intent.action
    if isinstance(action, Move):
        return action.node != node
    return isinstance(action, Detach | Fence) and action.node == node


def is_open(intent: Intent, now: float) -> bool:
    """Whether a call has no definite outcome and may still take effect inside AWS."""
    return intent.outcome in (None, Outcome.UNKNOWN) and now < intent.at + timing.CALL_TTL_SECONDS
