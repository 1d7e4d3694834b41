"""A cloud starts quickly and empty, stops cleanly, and can be started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from lab.cloud import Cloud, Latencies
from lab.cloud.patches import IMAGE


def test_each_cloud_is_empty_but_for_the_image_and_is_gone_when_stopped() -> None:
    for _ in range(3):
        before = threading.active_count()
        began = time.process_time()
        with Cloud.start(latencies=Latencies.fast()) as cloud:
            assert time.process_time() - began < 2
            ec2 = cloud.client("ec2")
            [image] = ec2.describe_images()["Images"]
            assert (image["ImageId"], image["RootDeviceName"]) == (IMAGE, "/dev/xvda")
            assert ec2.describe_volumes()["Volumes"] == []
            node = cloud.launch(cloud.network("10.9.0.0/16", "10.9.0.0/24"))
            found = ec2.describe_instances()["Reservations"][0]["Instances"][0]
            assert found["BlockDeviceMappings"][0]["DeviceName"] == "/dev/xvda"
            assert cloud.state(node.id) == "running"
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(cloud.endpoint, timeout=1)
        until = time.monotonic() + 3
        while threading.active_count() > before and time.monotonic() < until:
            time.sleep(0.01)
        assert threading.active_count() <= before


def test_only_one_at_a_time() -> None:
    with Cloud.start(latencies=Latencies.fast()), pytest.raises(RuntimeError, match="stop that one"):
        Cloud.start()


def test_nothing_that_was_due_happens_after_the_stop() -> None:
    with Cloud.start(latencies=replace(Latencies.fast(), launch=1.0)) as cloud:
        cloud.launch(cloud.network("10.9.0.0/16", "10.9.0.0/24"), wait=False)
    time.sleep(1.2)
    assert [event["detail"]["state"] for event, _ in cloud.bus.history] == ["pending"]


def test_a_minute_of_a_schedule_can_be_short() -> None:
    with Cloud.start(latencies=replace(Latencies.fast(), minute=0.3)) as cloud:
        url = cloud.client("sqs").create_queue(QueueName="ticks")["QueueUrl"]
        arn = f"arn:aws:sqs:{cloud.region}:{cloud.account}:ticks"
        events = cloud.client("events")
        events.put_rule(Name="tick", ScheduleExpression="rate(1 minute)")
        events.put_targets(Rule="tick", Targets=[{"Id": "1", "Arn": arn}])
        got = 0

        def ticked() -> bool:
            nonlocal got
            for m in cloud.client("sqs").receive_message(QueueUrl=url).get("Messages", []):
                assert json.loads(m["Body"])["detail-type"] == "Scheduled Event"
                got += 1
            return got >= 2

        cloud.until(ticked, 10)
        events.put_events(Entries=[{"Source": "x", "DetailType": "x", "Detail": "{}"}])
        events.disable_rule(Name="tick")
        time.sleep(0.2)
        cloud.client("sqs").purge_queue(QueueUrl=url)
        time.sleep(0.8)
        assert "Messages" not in cloud.client("sqs").receive_message(QueueUrl=url)
        assert not cloud.problems


def test_lambda_processes_end_with_a_cloud_that_is_killed() -> None:
    sleeper = subprocess.Popen(["sleep", "300"], start_new_session=True)
    code = "import sys, time; from lab.cloud.keeper import Keeper; k = Keeper(); k.keep(int(sys.argv[1]))"
    owner = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(1, flush=True); time.sleep(300)", str(sleeper.pid)],
        stdout=subprocess.PIPE,
    )
    try:
        assert owner.stdout is not None
        with owner.stdout as told:
            assert told.readline() == b"1\n"
        os.kill(sleeper.pid, signal.SIGSTOP)
        owner.kill()
        assert sleeper.wait(20) == -signal.SIGKILL
    finally:
        for process in (owner, sleeper):
            process.kill()
            process.wait(10)
