"""The words of Baton as frozen values: what nodes say, what is recorded, observed, and done.

Standard library only, and no clock: times are POSIX seconds and come from outside. A word's
`sequence` is a hybrid logical clock in milliseconds, so it also tells when the word was said.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from chalicelib import timing

SCHEMA: Final = 1
"""Version of the record. A record of a later schema is left alone."""


class Vrrp(StrEnum):
    """State of a node's VRRP instance, in keepalived's own words."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"
    FAULT = "FAULT"
    STOP = "STOP"


class Verb(StrEnum):
    """What the orchestrator asks of a node by SSM Run Command."""

    RELEASE = "release"
    ACQUIRE = "acquire"
    STATUS = "status"
    HANDOVER = "handover"


class Result(StrEnum):
    """What a node answers to a command."""

    RELEASED = "released"
    ACQUIRED = "acquired"
    STATUS = "status"
    STILL_MASTER = "still-master"
    REFUSED = "refused"
    FAILED = "failed"


class Code(StrEnum):
    """Why a node refused or failed; NONE where it did neither."""

    NONE = ""
    OLDER_EPOCH = "older-epoch"
    OTHER_BOOT = "other-boot"
    PAST_DEADLINE = "past-deadline"
    OVERTAKEN = "overtaken"
    LOCKED = "locked"
    UNKNOWN_CLUSTER = "unknown-cluster"
    ABSURD_EPOCH = "absurd-epoch"
    CONFIGURATION = "configuration"
    BUSY = "busy"
    UNITS = "units"
    NO_DEVICE = "no-device"
    UNVERIFIED = "unverified"
    DAMAGED = "damaged"
    MOUNT = "mount"
    HEALTH = "health"
    INTERNAL = "internal"


class Outcome(StrEnum):
    """What became of a call. UNKNOWN: it may or may not have happened; observe before anything."""

    DONE = "done"
    NOT_YET = "not yet"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class FencePolicy(StrEnum):
    """What may be done to a holder that does not answer."""

    STOP = "stop"
    FORCE_DETACH = "force-detach"
    NONE = "none"


class Power(StrEnum):
    """State of an instance as EC2 says it; UNKNOWN when EC2 did not say."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    UNKNOWN = "unknown"

    @property
    def is_off(self) -> bool:
        """Whether this host writes no more: `stopped` and `terminated`, nothing else."""
        return self in (Power.STOPPED, Power.TERMINATED)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster's definition, as far as the orchestrator needs it."""

    name: str
    nodes: tuple[str, ...]
    volumes: tuple[str, ...]
    addresses: tuple[str, ...]
    fence: FencePolicy = FencePolicy.STOP
    heartbeat_seconds: float = timing.HEARTBEAT_SECONDS
    challenge_seconds: float = timing.CHALLENGE_SECONDS
    release_seconds: float = timing.RELEASE_SECONDS
    acquire_seconds: float = timing.ACQUIRE_SECONDS
    stopping_seconds: float = timing.STOPPING_SECONDS
    paused: bool = False

    @property
    def fresh_seconds(self) -> float:
        """Age up to which a word says something about now."""
        return timing.FRESH_HEARTBEATS * self.heartbeat_seconds


@dataclass(frozen=True, slots=True)
class Word:
    """What a node last said of itself.

    `highest`: the highest epoch of any command it executed. `released`: it executes no Acquire of
    this epoch or an earlier one any more. `serving`: the epoch it serves, 0 if a volume is mounted
    that no epoch accounts for, None if nothing is mounted. `agent`: its SSM agent is up.
    """

    node: str
    state: Vrrp
    sequence: int
    boot: str
    priority: int = 0
    highest: int = 0
    released: int = 0
    serving: int | None = None
    agent: bool = True

    @property
    def said_at(self) -> float:
        """When it was said, by the node's own clock."""
        return self.sequence / 1000


class Cause(StrEnum):
    """Why AWS takes a node, or takes it down for a while."""

    SPOT = "spot"
    MAINTENANCE = "maintenance"

    @property
    def text(self) -> str:
        """The cause, for people."""
        return {Cause.SPOT: "Spot interruption", Cause.MAINTENANCE: "scheduled maintenance"}[self]


@dataclass(frozen=True, slots=True)
class Notice:
    """AWS announced that a node will be gone, for good or for a while.

    It is given to one boot of the node and ends with it: a node that was stopped or rebooted since
    is on another host, or has been through it.
    """

    node: str
    cause: Cause
    heard_at: float
    """When AWS said so."""
    at: float
    """From then on it may be gone."""
    until: float
    """By then it has happened."""
    boot: str = ""
    over: bool = False
    """AWS called it off, or says that it is done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's answer to a command, with the word that it carries."""

    result: Result
    code: Code = Code.NONE
    word: Word | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """An order to a node: what SSM carries. `unless_master` makes a Release a challenge."""

    node: str
    verb: Verb
    epoch: int
    boot: str
    deadline: float
    unless_master: bool = False
    volumes: tuple[str, ...] = ()
    ready: str = ""
    """For a hand-over: the node that is ready to take over."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command in the record. `id` is SSM's, None before its answer and after an unknown one."""

    command: Command
    at: float
    heard: int = 0
    """The node's sequence when it was asked: a later word may count as the answer."""
    id: str | None = None
    outcome: Outcome | None = None
    answer: Answer | None = None
    answered_at: float | None = None
    """When the answer was first seen."""
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Held:
    """The last Acquire sent to a node: until cleared, the node may be holding."""

    epoch: int
    boot: str


# ---------------------------------------------------------------------------------- actions


@dataclass(frozen=True, slots=True)
class Send:
    """Send a command to a node by SSM Run Command."""

    command: Command


@dataclass(frozen=True, slots=True)
class Detach:
    """Detach a volume from the node that is named, and from no other."""

    volume: str
    node: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach a volume to a node under a device name that is free there."""

    volume: str
    node: str
    device: str


@dataclass(frozen=True, slots=True)
class Move:
    """Move service addresses to a node's interface, one call that is all or nothing."""

    addresses: tuple[str, ...]
    interface: str
    node: str


@dataclass(frozen=True, slots=True)
class Fence:
    """Stop an instance by force: the closest thing to pulling the plug."""

    node: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start an instance that Baton fenced."""

    node: str


Mutation: TypeAlias = Detach | Attach | Move | Fence | Start
Action: TypeAlias = Send | Mutation


@dataclass(frozen=True, slots=True)
class Intent:
    """A mutation of EC2 in the record, written before the call."""

    action: Mutation
    epoch: int
    at: float
    outcome: Outcome | None = None
    code: str = ""
    tries: int = 1


# ----------------------------------------------------------------------------------- record


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one driver to drive one cluster until a moment."""

    holder: str
    until: float


@dataclass(frozen=True, slots=True)
class Seat:
    """What the record holds of one node, beside its word."""

    node: str
    heard: Word | None = None
    """Newest word that came with an answer to a command."""
    spent: int = 0
    """Sequence of the word that an epoch was decided against: that word claims no more."""
    held: Held | None = None
    asked: tuple[Asked, ...] = ()
    """The latest command of each verb, in the verbs' order."""
    silent_since: float | None = None
    """It left `status` or Acquire unanswered, and has not answered `status` since."""
    failures: int = 0
    """Acquires in a row that failed here; each doubles the time until it may try again."""
    failed_at: float | None = None
    fenced_at: float | None = None
    """Baton asked EC2 to stop it; None again once it was started."""
    started_at: float | None = None
    """Baton asked EC2 to start it; at most once an hour."""
    up_at: float | None = None
    """It was seen off, and since then it is on again, whoever started it."""
    spared: bool = False
    """It was about to be fenced, said that it serves, and was given an epoch; once until settled."""
    confirmed: int = 0
    """A person confirmed that it is off, in this epoch."""
    confirmed_at: float | None = None
    """When that was first seen: a later word of the node's own says otherwise."""
    off_heard: int | None = None
    """Its sequence when EC2 said that it is off; None once it has spoken since."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A contest under way: the owner was asked to release unless it is master."""

    owner: str
    claimant: str
    epoch: int
    """The epoch reserved for it, as the command carries it."""
    at: float
    heard: int
    """The owner's sequence when it was challenged."""
    claim: int
    """The claimant's sequence then."""
    deadline: float
    refused_at: float | None = None
    fruitless: Reason | None = None
    """Why it led to nothing, where the owner did not even answer."""
    times: int = 1


class Reason(StrEnum):
    """Why a cluster is blocked."""

    NO_CLAIMANT_ABLE = "no claimant is able"
    NOBODY_ANSWERS = "nobody answers"
    NO_FENCE = "the policy allows no fence"
    STUCK_STOPPING = "an instance stays in stopping"
    FENCE_BUDGET = "too many nodes fenced"
    STRANGER = "a stranger holds a resource"
    DAMAGED = "data is damaged"
    STUCK_VOLUME = "a volume is stuck"
    REFUSED = "AWS refuses"
    MISSING = "a resource does not exist"
    CANNOT_ACQUIRE = "no node can acquire"
    BOOTING = "the fenced node is not off"
    NOBODY_CLAIMS = "nobody claims"
    ABSURD_EPOCH = "a node's epoch is absurd"
    NO_HEIR = "nobody can take over"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What a blocked cluster waits for, since when, and what would clear it."""

    reason: Reason
    text: str
    since: float


@dataclass(frozen=True, slots=True)
class Record:
    """A cluster's state. The driver writes all of it but `words` and `notices`, which come in."""

    cluster: str
    version: int = 0
    words_version: int = 0
    words: tuple[Word, ...] = ()
    notices: tuple[Notice, ...] = ()
    """The latest of each cause for each node."""
    lease: Lease | None = None
    epoch: int = 0
    owner: str | None = None
    previous: str | None = None
    """Owner of the last settled epoch before this one."""
    highest_issued: int = 0
    settled: bool = False
    granted_at: float = 0.0
    counted_from: float = 0.0
    """Answers to commands sent since then count for this epoch: its challenge's or its grant's time."""
    because: str = ""
    mend: tuple[str, ...] = ()
    """Volumes to be taken off the owner itself and attached anew in this epoch."""
    adrift_since: float | None = None
    """Settled, but EC2 shows otherwise: believed only if it lasts, for Describes can be stale."""
    seats: tuple[Seat, ...] = ()
    intents: tuple[Intent, ...] = ()
    challenge: Challenge | None = None
    obstacle: Obstacle | None = None
    nobody_since: float | None = None
    marks: tuple[tuple[str, float], ...] = ()
    """The epoch's timeline: step and time."""

    def seat(self, node: str) -> Seat:
        """What is held of this node; an empty seat for one never seen."""
        return next((seat for seat in self.seats if seat.node == node), None) or Seat(node)

    def word(self, node: str) -> Word | None:
        """The node's newest word, whether it came as an event or with an answer."""
        heard = self.seat(node).heard
        words = [word for word in self.words if word.node == node]
        if heard is not None:
            words.append(heard)
        return max(words, key=lambda word: word.sequence, default=None)

    def with_seat(self, seat: Seat) -> Record:
        """A record with this seat in place of the node's former one."""
        others = tuple(s for s in self.seats if s.node != seat.node)
        return replace(self, seats=tuple(sorted((*others, seat), key=lambda s: s.node)))

    def asked(self, node: str, verb: Verb) -> Asked | None:
        """The latest command of this verb to the node."""
        return next((a for a in self.seat(node).asked if a.command.verb is verb), None)

    def marked(self, step: str, at: float) -> Record:
        """A record whose timeline holds this step, the first time it is passed."""
        if any(name == step for name, _ in self.marks):
            return self
        return replace(self, marks=(*self.marks, (step, at)))


# ------------------------------------------------------------------------------ observation


class Attached(StrEnum):
    """State of an attachment; BUSY is a detach that waits for the host to let go."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A volume on an instance."""

    node: str
    device: str
    state: Attached


@dataclass(frozen=True, slots=True)
class VolumeView:
    """A volume as EC2 shows it. `exists` is False only if EC2 says that it does not."""

    volume: str
    attachments: tuple[Attachment, ...] = ()
    exists: bool = True


@dataclass(frozen=True, slots=True)
class AddressView:
    """A service address as EC2 shows it.

    `interface` holds it, None if nobody does; `holder` is that interface's instance, "" if it is
    attached to none. `targets` gives, for each node, its interface in the address's own subnet.
    """

    address: str
    interface: str | None = None
    holder: str = ""
    targets: tuple[tuple[str, str], ...] = ()

    def target(self, node: str) -> str | None:
        """The node's interface in this address's subnet, if it has one."""
        return dict(self.targets).get(node)


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as EC2 shows it; `devices` are the names that it or its image uses."""

    node: str
    power: Power
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What EC2 and SSM say right now. What could not be observed is absent, never guessed."""

    at: float
    instances: tuple[InstanceView, ...] = ()
    volumes: tuple[VolumeView, ...] = ()
    addresses: tuple[AddressView, ...] = ()
    answers: tuple[tuple[str, Answer], ...] = field(default=())
    """Answers by SSM command id; a command that is still under way is absent."""

    def power(self, node: str) -> Power:
        """The instance's state; UNKNOWN if EC2 did not say."""
        return next((i.power for i in self.instances if i.node == node), Power.UNKNOWN)

    def instance(self, node: str) -> InstanceView | None:
        """The instance, if EC2 said anything of it."""
        return next((i for i in self.instances if i.node == node), None)

    def volume(self, volume: str) -> VolumeView | None:
        """The volume, if EC2 said anything of it."""
        return next((v for v in self.volumes if v.volume == volume), None)

    def address(self, address: str) -> AddressView | None:
        """The address, if EC2 said anything of it."""
        return next((a for a in self.addresses if a.address == address), None)


# --------------------------------------------------------------------------------- decision


@dataclass(frozen=True, slots=True)
class News:
    """Something to tell people or machines: an event, a metric, a log line."""

    kind: str
    text: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to persist, then what to do, then until when to wait.

    `look_at`: when to look again, None if only a new word or the sweep has to.
    """

    record: Record
    actions: tuple[Action, ...] = ()
    look_at: float | None = None
    news: tuple[News, ...] = ()
