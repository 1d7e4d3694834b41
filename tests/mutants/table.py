"""Every guard of the core and of the node's decisions, and the stories that miss it.

Each row takes one guard out of the shipped source, by replacing a text that stands there exactly
once, and names a story of tests/traces that then goes otherwise. Guards of the node that no story
reaches (an older epoch, a promise, a deadline) are held by tests/node_script.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A guard that is taken out: its name, where, what stands there, what instead, who misses it."""

    guard: str
    file: str
    old: str
    new: str
    story: str


FACTS = "chalicelib/facts.py"
ASKING = "chalicelib/asking.py"
GRANTING = "chalicelib/granting.py"
OWNERSHIP = "chalicelib/ownership.py"
UNFINISHED = "chalicelib/unfinished.py"
CONTEST = "chalicelib/contest.py"
HANDOVER = "chalicelib/handover.py"
STEPS = "chalicelib/steps.py"
FENCING = "chalicelib/fencing.py"
PROGRESS = "chalicelib/progress.py"
DECIDE = "chalicelib/decide.py"
DUTY = "node_hook/duty.py"

MUTANTS = (
    Mutant(
        "a word counts only if it is newer",
        OWNERSHIP,
        "if last is not None and word.sequence <= last.sequence:",
        "if False:",
        "reordered",
    ),
    Mutant(
        "a spent word claims no more",
        FACTS,
        "and word.sequence > self.record.seat(node).spent\n",
        "",
        "claims-twice",
    ),
    Mutant(
        "a node that boots does not claim with its old word",
        FACTS,
        "            and not self.is_booting(node)\n        )\n\n    def is_fresh",
        "",
        "nobody-claims",
    ),
    Mutant("able: its word is young", FACTS, "and self.is_fresh(node)\n", "", "stale-claimant"),
    Mutant("able: its agent is up", FACTS, "and word.agent\n", "", "story-08-no-fence"),
    Mutant(
        "able: EC2 says running",
        FACTS,
        "and self.seen.power(node) is Power.RUNNING\n            and seat",
        "and seat",
        "fenced-started",
    ),
    Mutant("able: not silent", FACTS, "and seat.silent_since is None\n", "", "story-12-ssm-down"),
    Mutant(
        "able: not right after it failed",
        FACTS,
        "and (seat.failed_at is None or self.now >= seat.failed_at + backoff(seat.failures))",
        "",
        "nobody-can-acquire",
    ),
    Mutant(
        "able: not stopping its keepalived",
        FACTS,
        "and word.state is not Vrrp.STOP\n",
        "",
        "story-12-ssm-down",
    ),
    Mutant(
        "who has a volume may hold",
        FACTS,
        "nodes.update(a.node for v in self.seen.volumes for a in v.attachments)",
        "pass",
        "adopts-from-member",
    ),
    Mutant(
        "released: nothing is mounted",
        FACTS,
        "if word is None or word.serving is not None:",
        "if word is None:",
        "forced-return",
    ),
    Mutant(
        "released: no older Acquire may follow",
        FACTS,
        "return word.released >= held.epoch or word.boot != held.boot",
        "return True",
        "acquire-fails",
    ),
    Mutant(
        "released: of a node that Baton never knew, only by this epoch",
        FACTS,
        "return self.record.previous is not None or word.highest >= self.record.epoch",
        "return True",
        "adopts-from-member",
    ),
    Mutant(
        "released: another boot has no old Acquire", FACTS, " or word.boot != held.boot", "", "hard-reboot"
    ),
    Mutant(
        "overdue: only after its deadline",
        FACTS,
        "return self.now >= asked.command.deadline and self.answered_by(half_time)",
        "return self.answered_by(half_time)",
        "story-03-two-stops",
    ),
    Mutant(
        "answered: in the boot that it is in",
        FACTS,
        "and asked.answer.word.boot == word.boot",
        "",
        "reboot-under-acquire",
    ),
    Mutant(
        "answered: in this epoch",
        FACTS,
        "and asked.at >= (self.record.counted_from if since is None else since)",
        "",
        "address-leaves",
    ),
    Mutant(
        "a call of unknown outcome may still come",
        FACTS,
        "return intent.outcome in (None, Outcome.UNKNOWN) and",
        "return intent.outcome is None and",
        "story-05-late-detach",
    ),
    Mutant(
        "a Move elsewhere would take the address",
        FACTS,
        "return action.node != node",
        "return False",
        "late-move",
    ),
    Mutant(
        "settled: the owner serves this epoch",
        FACTS,
        "and word.serving == self.record.epoch\n            and self.volumes_at",
        "and self.volumes_at",
        "nobody-claims",
    ),
    Mutant(
        "settled: the addresses are there",
        FACTS,
        "and self.addresses_at(owner)\n            and not",
        "and not",
        "move-throttled",
    ),
    Mutant(
        "a command of unknown fate is sent again first",
        ASKING,
        "return asked.outcome is not Outcome.NOT_YET and asked.tries >= timing.TRIES_MOST",
        "return True",
        "challenge-unsent",
    ),
    Mutant("paused", OWNERSHIP, "if facts.cluster.paused and not _is_begun(facts):", "if False:", "paused"),
    Mutant(
        "a claimant that EC2 says is off is none",
        OWNERSHIP,
        " and not facts.seen.power(n).is_off",
        "",
        "story-07-claimant-dies",
    ),
    Mutant(
        "only an able claimant gets the epoch",
        OWNERSHIP,
        "able = [node for node in rivals if facts.is_able(node)]\n"
        '    if able:\n        return Grant(able[0], f"{able[0]} claims',
        'able = list(rivals)\n    if able:\n        return Grant(able[0], f"{able[0]} claims',
        "ssm-refuses",
    ),
    Mutant(
        "an owner that released serves again if no claimant is able",
        OWNERSHIP,
        "if facts.is_able(owner) and facts.record.settled and facts.is_released(owner):",
        "if False:",
        "story-15-released-then-dead",
    ),
    Mutant(
        "an owner that does not serve its epoch gets a new one",
        OWNERSHIP,
        "if record.settled and word is not None and word.serving != record.epoch:",
        "if False:",
        "reboot-alone",
    ),
    Mutant(
        "a node ahead of the record gets a new epoch",
        OWNERSHIP,
        " or _overtake(facts, owner) or ruling",
        " or ruling",
        "shutdown-while-moving",
    ),
    Mutant(
        "words that an epoch was decided against are spent",
        GRANTING,
        "record = record.with_seat(replace(record.seat(node), spent=word.sequence))",
        "pass",
        "claims-twice",
    ),
    Mutant(
        "a holder that says it serves is not fenced",
        UNFINISHED,
        "if node != owner and facts.is_overdue(node) and _defies(facts, node):",
        "if False:",
        "spared",
    ),
    Mutant("spared once", UNFINISHED, "not facts.record.seat(node).spared and ", "", "spared"),
    Mutant(
        "damaged data does not tour the nodes",
        UNFINISHED,
        "asked.answer.code is Code.DAMAGED",
        "False",
        "damaged",
    ),
    Mutant(
        "an owner that cannot finish is replaced",
        UNFINISHED,
        "if is_unfit(facts, owner):\n        return _replace(facts, owner)",
        "pass",
        "acquire-fails",
    ),
    Mutant(
        "a contradiction must last",
        UNFINISHED,
        "facts.now - since < timing.ADRIFT_SECONDS",
        "False",
        "stale-describe",
    ),
    Mutant(
        "a contested owner is challenged first",
        CONTEST,
        "if challenge is None or challenge.owner != owner:\n        return Call(owner, able[0])",
        'if challenge is None:\n        return Grant(able[0], "it claims")',
        "story-11-agent-hangs",
    ),
    Mutant(
        "an owner that is off is not challenged",
        CONTEST,
        "if facts.seen.power(owner).is_off:",
        "if False:",
        "crash",
    ),
    Mutant(
        "an owner that holds nothing is not challenged",
        CONTEST,
        "if facts.is_released(owner):",
        "if False:",
        "claims-twice",
    ),
    Mutant(
        "still master, by its own newer word",
        CONTEST,
        "newer = word is not None and word.sequence > challenge.heard and word.state is Vrrp.MASTER",
        "newer = False",
        "story-11-agent-hangs",
    ),
    Mutant(
        "a challenge has its time",
        CONTEST,
        "if facts.now < challenge.deadline:",
        "if False:",
        "story-02-raised-epoch",
    ),
    Mutant(
        "silence counts only if the challenge went out",
        CONTEST,
        "if asked is None or asked.outcome in (None, Outcome.NOT_YET, Outcome.UNKNOWN):",
        "if False:",
        "challenge-unsent",
    ),
    Mutant(
        "silence counts only if the claimant answers",
        CONTEST,
        "if not facts.answered(claimant, since=challenge.at):",
        "if False:",
        "nobody-answers",
    ),
    Mutant(
        "where no fence is allowed nothing changes owner",
        CONTEST,
        "if not facts.may_fence():",
        "if False:",
        "no-fence-hang",
    ),
    Mutant(
        "a refused claim is not asked again at each heartbeat",
        CONTEST,
        "if challenge.refused_at is not None:\n        return _refused(facts, challenge)",
        "if challenge.refused_at is not None:\n        return Call(owner, able[0])",
        "partition-incumbent",
    ),
    Mutant(
        "silence reopens a refused claim",
        CONTEST,
        "if not (answered and facts.is_fresh(owner)) and",
        "if False and",
        "no-fence-hang",
    ),
    Mutant(
        "an agent known to be down gets until its heartbeat",
        CONTEST,
        "alert = word is not None and word.agent and",
        "alert = word is not None and",
        "story-06-agent-dead",
    ),
    Mutant(
        "a stranger's resources are not ours",
        HANDOVER,
        "if missing := _missing(facts) or _strangers(facts):",
        "if missing := _missing(facts):",
        "stranger",
    ),
    Mutant(
        "nothing is taken before every holder is clear",
        HANDOVER,
        "if unclear or not facts.sees_all():",
        "if not facts.sees_all():",
        "detach-astray",
    ),
    Mutant("no Acquire before the owner answers", HANDOVER, "and facts.answered(owner)\n", "", "adrift"),
    Mutant(
        "no Acquire before the volumes come", HANDOVER, "and facts.volumes_at(owner)\n", "", "detach-astray"
    ),
    Mutant(
        "no Acquire while an older call may take it away",
        HANDOVER,
        "and not facts.pending(owner)\n",
        "",
        "story-05-late-detach",
    ),
    Mutant(
        "no Acquire after a Detach before an Attach",
        HANDOVER,
        "and all(_is_here_to_stay(facts, volume, owner) for volume in facts.cluster.volumes)\n",
        "",
        "stale-attachment",
    ),
    Mutant(
        "an Acquire is sent again for another boot",
        HANDOVER,
        " or asked.command.boot != order.boot",
        "",
        "reboot-under-acquire",
    ),
    Mutant(
        "Detach waits while one is under way",
        STEPS,
        "if at.state in (Attached.DETACHING, Attached.BUSY):",
        "if False:",
        "confirmed",
    ),
    Mutant(
        "the owner's volume is not detached",
        STEPS,
        "elif at.node != owner or _is_to_mend(facts, view.volume, owner):",
        "else:",
        "nobody-claims",
    ),
    Mutant(
        "a refused or unseen call is not repeated at once",
        STEPS,
        "if facts.now >= again else Plan(look_at=again)\n    if intent",
        "if True else Plan()\n    if intent",
        "move-throttled",
    ),
    Mutant(
        "fence only if the new owner answers",
        FACTS,
        "return self.now >= asked.command.deadline and self.answered_by(half_time)",
        "return self.now >= asked.command.deadline",
        "story-12-ssm-down",
    ),
    Mutant(
        "only `stopped` counts: a Stop is awaited",
        FENCING,
        "if intent is not None or power in (Power.STOPPING, Power.SHUTTING_DOWN):",
        "if False:",
        "stopping",
    ),
    Mutant(
        "an instance that stays in stopping blocks",
        FENCING,
        'if facts.now < stuck_at:\n        return Plan(look_at=stuck_at)\n    text = f"{node} does',
        'if True:\n        return Plan(look_at=None)\n    text = f"{node} does',
        "confirmed",
    ),
    Mutant(
        "what Baton fenced is started again",
        HANDOVER,
        "plan = fencing.start_again(facts) + ",
        "plan = ",
        "hang",
    ),
    Mutant("a deaf master is fenced", HANDOVER, " + fencing.fence_deaf(facts)", "", "story-13-hung-claimant"),
    Mutant(
        "not released means fenced",
        FENCING,
        "return plan + fence(facts, node)",
        "return plan",
        "adopts-unanswered",
    ),
    Mutant(
        "a node that leaves a command unanswered is silent",
        PROGRESS,
        "return replace(seat, silent_since=facts.now) if late else seat",
        "return seat",
        "acquire-lost",
    ),
    Mutant(
        "an answer ends silence",
        PROGRESS,
        "replace(seat, asked=commands, silent_since=None)",
        "replace(seat, asked=commands)",
        "paused-challenged",
    ),
    Mutant(
        "an Acquire makes its node a possible holder",
        PROGRESS,
        "held = Held(command.epoch, command.boot) if command.verb is Verb.ACQUIRE else seat.held",
        "held = seat.held",
        "acquire-fails",
    ),
    Mutant(
        "an overtaken Acquire is no failure",
        PROGRESS,
        "if answer.code in OVERTAKEN:",
        "if False:",
        "reboot-under-acquire",
    ),
    Mutant(
        "a node that somebody starts has time to boot",
        FACTS,
        "if power is Power.RUNNING and seat.off_heard is not None:",
        "if False:",
        "person-starts",
    ),
    Mutant(
        "overdue by force: one that has nothing left",
        FACTS,
        "return allowed and gone and self.sees_all() and self.is_overdue(node)",
        "return False",
        "force-detach",
    ),
    Mutant(
        "what a person confirmed ends with the node's next word",
        FACTS,
        " == self.record.epoch and not speaks",
        " == self.record.epoch",
        "confirmed-then-back",
    ),
    Mutant(
        "what a person confirmed goes along into the next epoch",
        GRANTING,
        "record = _carried(facts, epoch)",
        "pass",
        "confirmed",
    ),
    Mutant(
        "a Stop that EC2 refused is none",
        FACTS,
        "mine = [i for i in mine if i.outcome not in (Outcome.REFUSED, Outcome.NOT_YET)]",
        "pass",
        "fence-refused",
    ),
    Mutant(
        "what a node has lost it lets go of first",
        GRANTING,
        "mend=ruling.mend or _lost(facts, ruling.node)",
        "mend=ruling.mend",
        "forced-return",
    ),
    Mutant(
        "an owner that EC2 stops claims no more",
        OWNERSHIP,
        "if not facts.claims(owner) or facts.is_leaving(owner):",
        "if not facts.claims(owner):",
        "stopping",
    ),
    Mutant(
        "an owner that EC2 stops and that let go is followed at once",
        OWNERSHIP,
        '_vacated(facts, owner) or Keep("nobody claims")',
        'Keep("nobody claims")',
        "vacated",
    ),
    Mutant(
        "a pause drops an open challenge",
        DECIDE,
        "facts.cluster.paused or not _is_contested(facts)",
        "not _is_contested(facts)",
        "paused-challenged",
    ),
    Mutant(
        "a released challenge is finished in a pause",
        OWNERSHIP,
        "return word is not None and word.highest > record.epoch and facts.is_released(owner)",
        "return False",
        "paused-released",
    ),
    Mutant(
        "a challenge that cannot be sent is not tried for ever",
        CONTEST,
        "if challenge.times < timing.TRIES_MOST:",
        "if True:",
        "challenge-unsent",
    ),
    Mutant(
        "a lost command is forgotten once its node answers",
        PROGRESS,
        "return late.answer is None and late.at < answered.at and is_unanswered(late, answered.at)",
        "return False",
        "acquire-lost",
    ),
    Mutant(
        "an answer that came too late proves nothing about the time before",
        FACTS,
        "at is not None and at <= moment",
        "at is not None",
        "ssm-returns",
    ),
    Mutant(
        "the node refuses an Acquire of another boot",
        DUTY,
        "if order.boot != boot:",
        "if False:",
        "story-04-old-acquire",
    ),
    Mutant(
        "a master does not release when challenged",
        DUTY,
        "if order.unless_master and master:",
        "if False:",
        "partition-incumbent",
    ),
    Mutant(
        "a call that went astray is remembered beside the same call made again",
        PROGRESS,
        " or i in astray)",
        ")",
        "detach-astray-again",
    ),
    Mutant(
        "an outcome is noted of the try that it belongs to",
        PROGRESS,
        "if i in tries[-1:] else i",
        "if i in tries else i",
        "detach-astray-again",
    ),
)

PUT_BACK = {
    "story 1: a reboot alone leaves nothing mounted": (
        "an owner that does not serve its epoch gets a new one"
    ),
    "story 2: a challenge raised the owner's epoch": (
        "an owner that does not serve its epoch gets a new one"
    ),
    "story 3: only one of two holders is released": "nothing is taken before every holder is clear",
    "story 4: an old Acquire runs after a reboot": "the node refuses an Acquire of another boot",
    "story 5: a Detach, a Move or a Stop goes astray": "no Acquire while an older call may take it away",
    "story 6: a challenge is shorter than a heartbeat": (
        "an agent known to be down gets until its heartbeat"
    ),
    "story 7: the claimant has lost power": "a claimant that EC2 says is off is none",
    "story 8: no fence, the epoch goes to and fro": "where no fence is allowed nothing changes owner",
    "story 9: a refused claim wedges": "silence reopens a refused claim",
    "story 9: a refused claim is challenged for ever": (
        "a refused claim is not asked again at each heartbeat"
    ),
    "story 11: a healthy master with a dead agent is stopped": "still master, by its own newer word",
    "story 12: SSM is down, and a healthy node is stopped": "fence only if the new owner answers",
    "story 13: a claimant that hangs takes the epoch for ever": "able: not silent",
    "story 14: a node is started again only to be stopped": (
        "a node that boots does not claim with its old word"
    ),
    "story 15: who released is not able, nobody serves": (
        "an owner that released serves again if no claimant is able"
    ),
    "story 16: the owner refuses its epoch for ever": "a node ahead of the record gets a new epoch",
    "the older state wins": "a word counts only if it is newer",
    "one Describe is believed": "a contradiction must last",
    "a time-out is taken for a death": "silence counts only if the claimant answers",
    "stopping is taken for stopped": "only `stopped` counts: a Stop is awaited",
    "throttled is taken for done": "a refused or unseen call is not repeated at once",
}
"""The stories that broke the first drafts of the protocol (the tenth is in test_reconcile.py), and
what breaks the systems that people use today: each is a row of the table, put back."""
