"""EBS volumes: the simulator's EC2 and the emulator's do the same, and refuse the same.

A docstring names where AWS, or somebody whom AWS answered so, says what is expected. "EC2 error
codes" is https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.model import (
    Attach,
    Attached,
    Detach,
    Fence,
    FencePolicy,
    Outcome,
    Power,
)
from tests.contract.acts import attached, do, stopped
from tests.contract.ports import (
    DONE,
    Aws,
    Place,
    Told,
    devices,
    places,
    power,
)

ATTACHING, ATTACHED, DETACHING = Attached.ATTACHING, Attached.ATTACHED, Attached.DETACHING
F, G = "/dev/sdf", "/dev/sdg"
IN_USE = Told(Outcome.NOT_YET, "VolumeInUse")
NOT_RUNNING = Told(Outcome.NOT_YET, "IncorrectState")
AVAILABLE = Told(Outcome.DONE, "IncorrectState")
NOT_THERE = Told(Outcome.DONE, "InvalidAttachment.NotFound")


def test_a_volume_is_attaching_and_then_attached(aws: Aws) -> None:
    """AttachVolume answers before it is done; the attachment's state tells (EC2 API reference,
    VolumeAttachment: attaching, attached, detaching, detached, busy)."""
    (a, _), (volume, other) = aws.cluster.nodes, aws.cluster.volumes
    assert places(aws, volume) == ()
    assert do(aws, Attach(volume, a, F)) == DONE
    assert places(aws, volume) == (Place(a, ATTACHING),)
    aws.settle()
    assert places(aws, volume) == (Place(a, ATTACHED),)
    assert places(aws, other) == ()


def test_a_look_shows_the_device_names_in_use(aws: Aws) -> None:
    """From the call on until the volume is gone, in DescribeInstances' blockDeviceMapping (EBS user
    guide, "Device names for volumes": a name that is in use cannot be chosen)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    assert devices(aws, a) == set()
    do(aws, Attach(volume, a, G))
    assert devices(aws, a) == {G}
    aws.settle()
    do(aws, Detach(volume, a))
    assert devices(aws, a) == {G}
    aws.settle()
    assert devices(aws, a) == devices(aws, b) == set()


@pytest.mark.parametrize("state", [ATTACHING, ATTACHED, DETACHING])
def test_a_volume_in_use_is_not_attached_anywhere_yet(aws: Aws, state: Attached) -> None:
    """VolumeInUse, whatever the state and the node (EC2 error codes; with the message in
    github.com/hashicorp/terraform-provider-aws/issues/8565). Later it may work: not refused."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Attach(volume, a, F))
    if state is not ATTACHING:
        aws.settle()
    if state is DETACHING:
        do(aws, Detach(volume, a))
    for node, device in ((a, F), (a, G), (b, F)):
        assert do(aws, Attach(volume, node, device)) == IN_USE
    assert places(aws, volume) == (Place(a, state),)


def test_a_device_name_that_is_taken_is_refused_for_good(aws: Aws) -> None:
    """InvalidParameterValue "already in use" (github.com/kubermatic/kubeone/pull/2859): it condemns
    that name on that node, and no other."""
    (a, b), (volume, other) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Attach(volume, a, F))
    assert do(aws, Attach(other, a, F)) == Told(Outcome.REFUSED, "device-taken")
    assert places(aws, other) == ()
    assert do(aws, Attach(other, b, F)) == DONE


def test_an_instance_that_is_stopping_takes_no_volume_yet(aws: Aws) -> None:
    """IncorrectState, "is not 'running'" (EC2 error codes;
    github.com/ansible-collections/amazon.aws/pull/497)."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Fence(a))
    assert power(aws, a) is Power.STOPPING
    assert do(aws, Attach(volume, a, F)) == NOT_RUNNING
    assert places(aws, volume) == ()


def test_a_volume_in_use_is_no_riddle_on_an_instance_that_is_stopping(aws: Aws) -> None:
    """Both errors apply: whichever comes, it is "not yet" and nothing happened (EC2 error codes)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, b)
    do(aws, Fence(a))
    assert do(aws, Attach(volume, a, F)) in (IN_USE, NOT_RUNNING)
    assert places(aws, volume) == (Place(b, ATTACHED),)


def test_a_stopped_instance_takes_a_volume(aws: Aws) -> None:
    """EBS user guide, "Attach an EBS volume": to a running or stopped instance (also
    github.com/hashicorp/terraform-provider-aws/issues/1311)."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    stopped(aws, a)
    attached(aws, volume, a)


def test_a_detach_takes_its_time_and_the_volume_is_then_free(aws: Aws) -> None:
    """`detaching` until the host let go (EC2 API reference, DetachVolume). Others stay."""
    (a, b), (volume, other) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    attached(aws, other, a, G)
    assert do(aws, Detach(volume, a)) == DONE
    assert places(aws, volume) == (Place(a, DETACHING),)
    assert do(aws, Detach(volume, a)) == DONE
    aws.settle()
    assert places(aws, volume) == ()
    assert places(aws, other) == (Place(a, ATTACHED),)
    attached(aws, volume, b)


def test_an_attach_under_way_can_be_taken_back(aws: Aws) -> None:
    """A volume stuck in `attaching` is detached (EBS user guide, "Troubleshoot a volume stuck in the
    attaching state"; the EBS CSI driver does so too)."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    do(aws, Attach(volume, a, F))
    assert do(aws, Detach(volume, a)) == DONE
    aws.settle()
    assert places(aws, volume) == ()


@pytest.mark.parametrize("force", [False, True])
def test_a_detach_that_names_the_wrong_instance_changes_nothing(aws: Aws, force: bool) -> None:
    """InvalidAttachment.NotFound (EC2 error codes: "an attempt to detach a volume from an instance
    to which it is not attached"): a late call cannot take a volume from its new owner."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    assert do(aws, Detach(volume, b, force)) == NOT_THERE
    aws.settle()
    assert places(aws, volume) == (Place(a, ATTACHED),)


@pytest.mark.parametrize("force", [False, True])
def test_a_volume_that_is_nowhere_is_detached_already(aws: Aws, force: bool) -> None:
    """IncorrectState, "is in the 'available' state"
    (github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/1801): what was asked for is so."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    assert do(aws, Detach(volume, a, force)) == AVAILABLE
    attached(aws, volume, a)
    do(aws, Detach(volume, a))
    aws.settle()
    assert do(aws, Detach(volume, a, force)) == AVAILABLE


def test_a_mounted_volume_does_not_come_off(aws: Aws) -> None:
    """It stays in `detaching`, or `busy`, until the host unmounts it (EBS user guide, "Detach an EBS
    volume"; github.com/hashicorp/terraform-provider-aws/issues/4770)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    do(aws, Detach(volume, a))
    aws.mount(a)
    aws.settle()
    assert places(aws, volume) == (Place(a, DETACHING),)
    assert do(aws, Attach(volume, b, F)) == IN_USE
    aws.unmount(a)
    aws.settle()
    assert places(aws, volume) == ()


def test_a_forced_detach_asks_nobody(aws: Aws) -> None:
    """Force: the host gets no chance to flush (EC2 API reference, DetachVolume). Baton does it to a
    host that is on only where a person has chosen that policy."""
    (a, _), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    aws.cluster = replace(aws.cluster, fence=FencePolicy.FORCE_DETACH)
    attached(aws, volume, a)
    aws.mount(a)
    assert do(aws, Detach(volume, a, force=True)) == DONE
    aws.settle()
    assert places(aws, volume) == ()


@pytest.mark.parametrize("force", [False, True])
def test_a_host_that_is_off_lets_go_of_what_it_had_mounted(aws: Aws, force: bool) -> None:
    """And keeps it until it is asked to (EC2 user guide, "Stop and start your instance": EBS volumes
    and private addresses stay with a stopped instance)."""
    (a, b), (volume, _) = aws.cluster.nodes, aws.cluster.volumes
    attached(aws, volume, a)
    aws.mount(a)
    stopped(aws, a)
    assert places(aws, volume) == (Place(a, ATTACHED),)
    assert do(aws, Detach(volume, a, force)) == DONE
    aws.settle()
    attached(aws, volume, b)
