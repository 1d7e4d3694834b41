#!/usr/bin/python3 -IS
"""The node script: release, acquire, status, handover, prepare, and what a node does by itself.

    node.py <action> --cluster C --epoch E --boot B --volumes vol-1,vol-2 --deadline T

The last line of stdout is the answer, one JSON object; progress is on stderr. Exit codes follow the
OCF resource agents: 0 done, 1 failed, 2 bad arguments, 4 configuration or permission, 5 not
installed, 6 refused, or still master. Never 137 or 194, to which the SSM agent gives a meaning.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import types
from typing import Any, Callable, Optional

if "node_hook" not in sys.modules:
    # Run as a script, from wherever it is installed: its siblings are the package.
    _package = types.ModuleType("node_hook")
    _package.__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.modules["node_hook"] = _package

from node_hook import arguments
from node_hook.arguments import BadArguments, Given
from node_hook.config import Config, ConfigError, load
from node_hook.duty import Order
from node_hook.epochs import Locked, StateError
from node_hook.job import Failed, Job, answer
from node_hook.job import say as job_log
from node_hook.paths import boot_id, config_path

EXIT = {"refused": 6, "still-master": 6, "failed": 1}
CONFIGURATION = 4
NOT_INSTALLED = 5


def main(argv: "list[str]") -> int:
    """Do one job, print its answer, return the exit code."""
    # A closed terminal or an agent that restarts must not stop a release half way.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    os.environ["LC_ALL"] = "C"  # what mount and fsck say is read
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin".lstrip(
        ":"
    )
    try:
        given = arguments.parse(argv)
    except BadArguments as error:
        return _bare(2, "failed", "configuration", str(error))
    try:
        config = load()
    except ConfigError as error:
        code = CONFIGURATION if os.path.exists(config_path()) else NOT_INSTALLED
        return _bare(code, "failed", "configuration", str(error), given)
    if os.geteuid() != 0:
        return _bare(CONFIGURATION, "failed", "configuration", "run this as root", given)
    if given.cluster and given.cluster != config.cluster:
        text = f"this node belongs to {config.cluster}, not to {given.cluster}"
        return _bare(6, "refused", "unknown-cluster", text, given)
    return _run(given, config)


def _run(given: Given, config: Config) -> int:
    order = Order(given.action, given.epoch, given.boot, given.deadline, given.unless_master)
    job = Job(config, order, boot_id(config.paths), given.volumes)
    found = _attempt(_job(given), job)
    found["word"] = _word(job, f"{given.action}: {found['code'] or found['result']}")
    _print(found)
    if found["code"] == "configuration":
        return CONFIGURATION
    return EXIT.get(found["result"], 0)


def _word(job: Job, reason: str) -> "Optional[dict[str, Any]]":
    """What holds now that the job is done; the publisher sends it as well."""
    from node_hook import speak

    try:
        state = "STOP" if job.order.verb == "shutdown" else None
        return speak.word_of(job.config, reason, state)
    except Exception as error:  # noqa: BLE001 - the answer matters more; the heartbeat says it again
        job_log(f"cannot say the word: {type(error).__name__}: {error}")
        return None


def _attempt(work: "Callable[[Job], dict[str, Any]]", job: Job) -> "dict[str, Any]":
    try:
        return work(job)
    except Failed as error:
        return answer(job, error.result, error.code, str(error))
    except Locked as error:
        return answer(job, "refused", "locked", str(error))
    except Exception as error:  # noqa: BLE001 - the orchestrator gets an answer, people a reason
        import traceback

        traceback.print_exc()
        code = "configuration" if isinstance(error, PermissionError) else "internal"
        text = str(error) if isinstance(error, StateError) else f"{type(error).__name__}: {error}"
        return answer(job, "failed", code, text)


def _job(given: Given) -> "Callable[[Job], dict[str, Any]]":
    """The job's own file, loaded when it is needed: a start costs as little as its job allows."""
    if given.action == "release":
        from node_hook.release import release

        return release
    if given.action == "acquire":
        from node_hook.acquire import acquire

        return acquire
    if given.action == "status":
        from node_hook.status import status

        return status
    return _rare_job(given)


def _rare_job(given: Given) -> "Callable[[Job], dict[str, Any]]":
    if given.action == "handover":
        from node_hook.handover import handover

        return lambda job: handover(job, given.ready, given.anyway)
    if given.action == "prepare":
        from node_hook.prepare import prepare

        return lambda job: prepare(job, given.partitioned)
    if given.action == "reset":
        from node_hook.status import reset

        return reset
    from node_hook.shutdown import arrive, shutdown

    return shutdown if given.action == "shutdown" else arrive


def _bare(exit_code: int, result: str, code: str, text: str, given: Optional[Given] = None) -> int:
    """An answer without a word: there is no configuration to make one by."""
    sys.stderr.write(f"baton: {text}\n")
    named = given or Given("", "")
    _print(
        {
            "version": 1,
            "cluster": named.cluster,
            "action": named.action,
            "epoch": named.epoch,
            "result": result,
            "code": code,
            "text": text[:2000],
            "word": None,
            "holders": [],
            "steps": {},
        }
    )
    return exit_code


def _print(found: "dict[str, Any]") -> None:
    sys.stdout.write(json.dumps(found, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
