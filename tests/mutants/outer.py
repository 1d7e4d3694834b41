"""The guards around the core: the record's conditions, the last look before a call, what AWS says.

No story reaches them, for the simulated world has a record, an EC2 and a driver of its own: tests
of the real ones miss them. A condition is not left out but made to hold always, since DynamoDB
refuses a request with a value that it does not use.
"""

from __future__ import annotations

from tests.mutants.mutant import Mutant

STORE = "chalicelib/store.py"
DRIVE = "chalicelib/drive.py"
PACE = "chalicelib/pace.py"
ANNOUNCED = "chalicelib/announced.py"
ANSWERS = "chalicelib/answers.py"
DEVICES = "node_hook/devices.py"

STORED = "tests/orchestrator/test_store.py::test_"
SIGNALS = "tests/orchestrator/test_signals.py::test_"
ANSWERED = "tests/orchestrator/test_answers.py::test_"
CALLS = "tests/mutants/test_calls.py::test_"

OUTER = (
    Mutant(
        "record: a word is written only if it is newer",
        STORE,
        '"attribute_not_exists(#said) OR #said < :said"',
        '"attribute_not_exists(#said) OR attribute_exists(#said)"',
        test=f"{STORED}an_older_or_equal_word_does_not_replace_a_newer_one",
    ),
    Mutant(
        "record: a word is not written twice",
        STORE,
        '"attribute_not_exists(#said) OR #said < :said"',
        '"attribute_not_exists(#said) OR #said <= :said"',
        test=f"{STORED}an_older_or_equal_word_does_not_replace_a_newer_one",
    ),
    Mutant(
        "record: a word that the SDK sent twice is accepted",
        STORE,
        'return failed is None or there.get(f"{WORD}{word.node}") == said_text(word)',
        "return failed is None",
        test=f"{STORED}a_word_that_was_sent_twice_by_the_sdk_counts_as_accepted",
    ),
    Mutant(
        "record: a word raises the words' version",
        STORE,
        '"SET #word = :word, #said = :said ADD version :one"',
        '"SET #word = :word, #said = :said ADD writes :one"',
        test=f"{STORED}the_lease_is_not_given_up_while_a_word_is_undecided",
    ),
    Mutant(
        "record: a notice is written only if it is newer",
        STORE,
        '"attribute_not_exists(#heard) OR #heard < :heard"',
        '"attribute_not_exists(#heard) OR attribute_exists(#heard)"',
        test=f"{SIGNALS}maintenance_that_is_called_off_is_over_also_if_its_first_event_comes_late",
    ),
    Mutant(
        "record: a lease that somebody holds is not taken",
        STORE,
        "OR lease_holder = :me OR lease_until < :now)",
        "OR lease_holder <> :me OR lease_until < :now)",
        test=f"{STORED}one_of_many_drivers_gets_the_lease",
    ),
    Mutant(
        "record: a lease that is over is taken",
        STORE,
        "OR lease_until < :now)",
        "OR (lease_until < :now AND attribute_not_exists(lease_until)))",
        test=f"{STORED}a_lease_that_is_over_is_taken_and_the_late_driver_writes_no_more",
    ),
    Mutant(
        "record: one of a later schema is not taken",
        STORE,
        '"(attribute_not_exists(#schema) OR #schema <= :schema) AND"\n',
        "",
        test=f"{STORED}a_record_of_a_later_schema_is_left_alone",
    ),
    Mutant(
        "record: a driver writes only on the version that it read",
        STORE,
        '"version = :version AND lease_holder = :me AND lease_until > :now"',
        '"(version = :version OR version <> :version) AND lease_holder = :me AND lease_until > :now"',
        test=f"{STORED}a_driver_that_decided_on_an_old_version_does_not_write",
    ),
    Mutant(
        "record: a driver writes only while nobody else drives",
        STORE,
        '"version = :version AND lease_holder = :me AND lease_until > :now"',
        '"(version = :version OR lease_holder = :me OR version <> :version) AND lease_until > :now"',
        test=f"{STORED}a_lease_that_is_over_is_taken_and_the_late_driver_writes_no_more",
    ),
    Mutant(
        "record: a driver writes only while its lease lasts",
        STORE,
        '"version = :version AND lease_holder = :me AND lease_until > :now"',
        '"version = :version AND lease_holder = :me AND (lease_until > :now OR lease_until <= :now)"',
        test=f"{STORED}a_driver_whose_lease_ran_out_does_not_write_although_nobody_took_it",
    ),
    Mutant(
        "record: a write raises the version",
        STORE,
        '":next": stored.version,',
        '":next": stored.version - 1,',
        test=f"{STORED}what_is_persisted_is_loaded_again",
    ),
    Mutant(
        "record: a write that the SDK sent twice is no lost lease",
        STORE,
        "if failed and not _is_same(from_item(stored_item(failed)), stored, lease):",
        "if failed:",
        test=f"{STORED}a_write_that_the_sdk_sent_twice_is_not_a_lost_lease",
    ),
    Mutant(
        "record: only the very same write is no lost lease",
        STORE,
        "if failed and not _is_same(from_item(stored_item(failed)), stored, lease):",
        "if False:",
        test=f"{STORED}a_driver_that_decided_on_an_old_version_does_not_write",
    ),
    Mutant(
        "record: a write renews the lease",
        STORE,
        "until = max(record.lease.until, now + timing.LEASE_SECONDS)",
        "until = record.lease.until",
        test=f"{STORED}persist_renews_the_lease_and_brings_the_words_that_came_meanwhile",
    ),
    Mutant(
        "record: a write brings the newest words",
        STORE,
        "return with_words(stored, self._words(record.cluster))",
        "return stored",
        test=f"{STORED}persist_renews_the_lease_and_brings_the_words_that_came_meanwhile",
    ),
    Mutant(
        "record: a turning point is in the history",
        STORE,
        "if former is not None and not entry_of(former).turned(entry_of(stored)):",
        "if True:",
        test=f"{STORED}history_tells_each_epoch_once_with_its_end",
    ),
    Mutant(
        "record: the lease is not given up while a word is undecided",
        STORE,
        '"ConditionExpression": f"version = :version{never}"',
        '"ConditionExpression": f"version = :version OR version <> :version{never}"',
        test=f"{STORED}the_lease_is_not_given_up_while_a_word_is_undecided",
    ),
    Mutant(
        "record: the lease is given up where nobody ever spoke",
        STORE,
        'never = " OR attribute_not_exists(version)" if record.words_version == 0 else ""',
        'never = ""',
        test=f"{STORED}giving_up_a_lease_that_somebody_else_took_leaves_it_to_him",
    ),
    Mutant(
        "record: a driver gives up no other's lease",
        STORE,
        '"lease_holder = :me AND version = :version"',
        '"lease_holder = :me OR version = :version OR attribute_exists(version)"',
        test=f"{STORED}giving_up_a_lease_that_somebody_else_took_leaves_it_to_him",
    ),
    Mutant(
        "last look: a call that could outlast the lease is not sent",
        DRIVE,
        "if _left(record, self._now()) < NEEDED_SECONDS:",
        "if False:",
        test=f"{CALLS}what_could_outlast_the_lease_is_not_sent",
    ),
    Mutant(
        "last look: a call is over only after its time-out has passed twice",
        DRIVE,
        "NEEDED_SECONDS: Final = 2 * timing.CALL_SECONDS",
        "NEEDED_SECONDS: Final = timing.CALL_SECONDS",
        test=f"{CALLS}what_could_outlast_the_lease_is_not_sent",
    ),
    Mutant(
        "last look: nothing is sent without a lease",
        DRIVE,
        "return record.lease.until - now if record.lease else 0.0",
        "return record.lease.until - now if record.lease else timing.LEASE_SECONDS",
        test=f"{CALLS}nothing_is_sent_without_a_lease",
    ),
    Mutant(
        "last look: at the lease after everything else",
        DRIVE,
        """        if isinstance(action, Fence) and not self._ports.fences.spend(action.node, self._now()):
            return Done(action, Outcome.NOT_YET, self._now(), FENCE_BUDGET)
        if not self._pace.take(action, self._now()):
            return Done(action, Outcome.NOT_YET, self._now(), OWN_PACE)
        if _left(record, self._now()) < NEEDED_SECONDS:
            return Done(action, Outcome.NOT_YET, self._now(), LEASE_TOO_SHORT)
""",
        """        if _left(record, self._now()) < NEEDED_SECONDS:
            return Done(action, Outcome.NOT_YET, self._now(), LEASE_TOO_SHORT)
        if isinstance(action, Fence) and not self._ports.fences.spend(action.node, self._now()):
            return Done(action, Outcome.NOT_YET, self._now(), FENCE_BUDGET)
        if not self._pace.take(action, self._now()):
            return Done(action, Outcome.NOT_YET, self._now(), OWN_PACE)
""",
        test=f"{CALLS}the_lease_is_looked_at_after_everything_else",
    ),
    Mutant(
        "last look: a Stop needs the fleet's budget",
        DRIVE,
        "if isinstance(action, Fence) and not self._ports.fences.spend(action.node, self._now()):",
        "if False:",
        test=f"{CALLS}a_stop_is_not_sent_without_the_fleets_budget",
    ),
    Mutant(
        "last look: no more calls than EC2 takes",
        DRIVE,
        "if not self._pace.take(action, self._now()):",
        "if False:",
        test=f"{CALLS}a_driver_sends_no_more_of_a_kind_than_ec2_takes",
    ),
    Mutant(
        "pace: each kind of call has its own",
        PACE,
        "        kind = type(action).__name__\n        tokens = ",
        "        kind = str()\n        tokens = ",
        test=f"{CALLS}a_driver_sends_no_more_of_a_kind_than_ec2_takes",
    ),
    Mutant(
        "pace: a pause saves up no more than the burst",
        PACE,
        "return min(tokens + max(now - at, 0.0) * PER_SECOND, float(BURST))",
        "return tokens + max(now - at, 0.0) * PER_SECOND",
        test=f"{CALLS}a_pause_saves_up_no_more_than_the_burst",
    ),
    Mutant(
        "announced: to this account",
        ANNOUNCED,
        ' or event.get("account") != account:',
        ":",
        test=f"{SIGNALS}other_events_announce_nothing",
    ),
    Mutant(
        "announced: only what has a time",
        ANNOUNCED,
        "if not nodes or heard_at is None or",
        "heard_at = heard_at or 0.0\n    if not nodes or",
        test=f"{SIGNALS}other_events_announce_nothing",
    ),
    Mutant(
        "announced: hibernation begins at once",
        ANNOUNCED,
        '(0.0 if event["detail"].get("instance-action") == "hibernate" else SPOT_SECONDS)',
        "SPOT_SECONDS",
        test=f"{SIGNALS}an_announcement_is_read_as_aws_writes_it",
    ),
    Mutant(
        "announced: by AWS Health, only of EC2",
        ANNOUNCED,
        'detail.get("service") == "EC2"\n        and ',
        "",
        test=f"{SIGNALS}other_events_announce_nothing",
    ),
    Mutant(
        "announced: by AWS Health, only what is scheduled",
        ANNOUNCED,
        'and detail.get("eventTypeCategory") == "scheduledChange"\n',
        "",
        test=f"{SIGNALS}other_events_announce_nothing",
    ),
    Mutant(
        "announced: by AWS Health, only what takes an instance",
        ANNOUNCED,
        'and str(detail.get("eventTypeCode")).endswith("_SCHEDULED")\n',
        "",
        test=f"{SIGNALS}other_events_announce_nothing",
    ),
    Mutant(
        "announced: by AWS Health, not of another account of the organization",
        ANNOUNCED,
        'and detail.get("affectedAccount", account) == account\n',
        "",
        test=f"{SIGNALS}other_events_announce_nothing",
    ),
    Mutant(
        "announced: what is closed is over",
        ANNOUNCED,
        'over = CALLED_OFF[0] == detail.get("statusCode") or',
        "over = ",
        test=f"{SIGNALS}an_announcement_is_read_as_aws_writes_it",
    ),
    Mutant(
        "announced: what is over for the node is over",
        ANNOUNCED,
        " or CALLED_OFF[1] in _status(detail, node)",
        "",
        test=f"{SIGNALS}an_announcement_is_read_as_aws_writes_it",
    ),
    Mutant(
        "announced: an end before the beginning is none",
        ANNOUNCED,
        'max(_moment(detail.get("endTime")) or at, at)',
        '_moment(detail.get("endTime")) or at',
        test=f"{SIGNALS}an_announcement_is_read_as_aws_writes_it",
    ),
    Mutant(
        "an answer: not what SSM says of its delivery",
        ANSWERS,
        'ANSWERED: Final = frozenset({"Success", "Failed"})',
        'ANSWERED: Final = frozenset({"Success", "Failed", "TimedOut", "Undeliverable"})',
        test=f"{ANSWERED}no_other_status_is_an_answer",
    ),
    Mutant(
        "an answer: only to this very command",
        ANSWERS,
        "if said.get(name) != value:",
        "if False:",
        test=f"{ANSWERED}an_answer_to_something_else_or_in_another_form_is_none",
    ),
    Mutant(
        "the node trusts no link to a volume, only its serial number",
        DEVICES,
        "        if found != volume.serial:\n",
        "        if False:\n",
        test="tests/mutants/test_nodes.py::test_a_link_that_points_at_another_volume_is_not_trusted",
    ),
)
