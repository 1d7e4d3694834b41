"""The few changes of moto itself that the gate cannot make. Each has a canary test.

They are put in before the first backend of the process exists: moto makes backends on first
use, in whatever thread asks first, and fills them while it does so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.awslambda.models import LambdaBackend
from moto.backends import get_backend
from moto.core.base_backend import BackendDict
from moto.ec2.models.amis import Ami
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.events.models import EventBus
from moto.ssm.models import SimpleSystemManagerBackend

from lab.cloud import gate
from lab.cloud.world import World

IMAGE = "ami-0ba70b0ba70b0ba70"
"""The lab's image: Debian-like, with its root device on /dev/xvda."""
ROOT_DEVICE = "/dev/xvda"
_IMAGES = "MOTO_EC2_LOAD_DEFAULT_AMIS"

_SERVICES = ("ec2", "iam", "ssm", "events", "lambda", "dynamodb", "sqs", "sns", "logs", "sts")

_filter_value = NetworkInterface.get_filter_value
_setup_defaults = Instance.setup_defaults
_create = SimpleSystemManagerBackend.create_document
_put_config = LambdaBackend.put_function_event_invoke_config


def install() -> None:
    """Put every patch in place. Idempotent."""
    gate.install()
    NetworkInterface.get_filter_value = _interface_filter
    Instance.setup_defaults = _root_volume
    LambdaBackend.put_function_event_invoke_config = _put_one_config
    SimpleSystemManagerBackend.create_document = _create_document
    EventBus.physical_resource_id = property(lambda bus: bus.name)


def fresh(world: World) -> None:
    """Empty every backend, make the ones that matter, and register the image."""
    with world.lock, _without_images():
        BackendDict.reset()
        for service in _SERVICES:
            account = get_backend(service)[world.settings.account]
            account["aws" if service in ("iam", "sts") else world.settings.region]
        world.ec2.amis[IMAGE] = _image(world)


@contextmanager
def _without_images() -> Iterator[None]:
    """moto's own images are half a second's work per Region, and none has its root on /dev/xvda."""
    before = os.environ.get(_IMAGES)
    os.environ[_IMAGES] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_IMAGES]
        else:
            os.environ[_IMAGES] = before


def _image(world: World) -> Ami:
    return Ami(
        world.ec2,
        IMAGE,
        name="baton-lab",
        virtualization_type="hvm",
        architecture="x86_64",
        hypervisor="xen",
        root_device_type="ebs",
        root_device_name=ROOT_DEVICE,
        region_name=world.settings.region + "a",
    )


def _interface_filter(self: NetworkInterface, name: str, method: str | None = None) -> Any:
    """moto finds an interface by its primary address only; EC2 by each one (EC2 API reference,
    DescribeNetworkInterfaces, filter `addresses.private-ip-address`)."""
    if name == "addresses.private-ip-address":
        return [item["PrivateIpAddress"] for item in self.private_ip_addresses]
    if name == "attachment.device-index":
        return str(self.device_index)
    if name == "attachment.status":
        return "attached" if self.attachment_id else None
    if name == "status":
        return self.status
    return _filter_value(self, name, method)


def _root_volume(self: Instance) -> None:
    """moto puts every root volume on /dev/sda1; EC2 where the image has it."""
    zone = self._placement.zone
    volume = self.ec2_backend.create_volume(size=8, zone_name=zone)
    self.ec2_backend.attach_volume(volume.id, self.id, self.root_device_name, True)


def _put_one_config(self: LambdaBackend, function_name: str, config: dict[str, Any]) -> Any:
    """moto keeps every configuration and shows the first; Lambda replaces it (Lambda API
    reference, PutFunctionEventInvokeConfig: "overwrites the existing configuration")."""
    self.get_function(function_name).event_invoke_config.clear()
    return _put_config(self, function_name, config)


def _create_document(self: SimpleSystemManagerBackend, **wanted: Any) -> Any:
    """moto's CloudFormation keeps a document's Content as an object and stumbles over it later
    (CloudFormation reference, AWS::SSM::Document: Content is JSON). For the same reason an event
    bus gets a name that `Ref` can stand for (AWS::Events::EventBus, "Return values")."""
    if isinstance(wanted.get("content"), dict):
        wanted["content"] = json.dumps(wanted["content"])
    return _create(self, **wanted)
