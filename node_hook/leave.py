"""Letting go of the volumes: units stopped, everything unmounted everywhere, nothing pretended.

Used by release, by the shutdown job, and by an acquire that failed half way. On return the kernel
uses none of the devices any more, or they are gone; otherwise Failed says who holds them.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Optional

from node_hook import devices, holders, mounts, strike, units
from node_hook.devices import Device
from node_hook.holders import Where
from node_hook.job import Failed, Job
from node_hook.mounts import Mount, Namespace

GRACE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL, or a third of the time that is left: units were stopped before, so
these are strays, and a release is given 20 s in all."""

STRIKE_SECONDS = 0.3
"""How long to race a supervisor that starts a holder again, before looking around anew."""

DYING_SECONDS = 1.0
"""A killed process that has not ended by then hangs in the kernel."""

GONE_SECONDS = 1.0
"""An unmount of a pulled device fails at once or hangs: past this it is detached lazily."""

FLUSH_SECONDS = 1.0
"""After an unmount next to nothing is left to write; this much is granted past the deadline."""

AGAIN_SECONDS = 0.03
"""Between two tries while holders are given time to end."""


@dataclass
class _Scene:
    """The filesystems to be free of; `known` are the devices whose file is known, by number."""

    where: Where
    known: "dict[str, Device]"
    seen: "dict[int, holders.Holder]" = field(default_factory=dict)
    signals: "dict[int, str]" = field(default_factory=dict)
    grace_until: Optional[float] = None


def let_go(job: Job, until: float) -> None:
    """Stop the units and free every volume by `until`. Raises Failed; a second run goes on."""
    with job.step("stop"):
        stubborn = units.stop(job.config.units, job.config.unit_seconds, until)
        if stubborn:
            job.note(f"killed, because they did not stop: {', '.join(stubborn)}")
    scene = _survey(job, until)
    with job.step("unmount"):
        _free(job, scene, until)
    with job.step("flush"):
        for device in scene.known.values():
            _flush(job, device, max(until, time.time() + FLUSH_SECONDS))
    with job.step("verify"):
        left = _mounted(scene, until, job.paths.proc)
        if left:
            raise Failed("busy", f"mounted again meanwhile: {_places(left)}")


def _flush(job: Job, device: Device, until: float) -> None:
    if devices.is_gone(device.number, job.paths):
        return
    code = devices.flush(device, until)
    if code is None and not devices.is_gone(device.number, job.paths):
        raise Failed("busy", f"{device.path} does not take what is still to be written")
    if code:
        job.note(f"flushing {device.path} failed ({os.strerror(code)}): look at the kernel's log")


def _survey(job: Job, until: float) -> _Scene:
    """The devices at our mount points, and those of our volumes wherever they are mounted."""
    numbers: "set[str]" = set()
    known: "dict[str, Device]" = {}
    points = {volume.mount for volume in job.volumes}
    for namespace, table in mounts.everywhere(until, job.paths.proc):
        for mount in table:
            if mount.point in points and (namespace is None or devices.is_gone(mount.device, job.paths)):
                numbers.add(mount.device)
                if devices.number_of(mount.source) == mount.device:
                    known[mount.device] = Device(mount.source, mount.device)
    for volume in job.volumes:
        try:
            found = devices.find(volume, job.paths)
        except devices.Unverified as error:
            job.note(str(error))
            continue
        if found is not None:
            numbers.add(found.number)
            known[found.number] = found
    _spare_the_system(numbers, job)
    scene = _Scene(Where(numbers, set()), known)
    scene.where.mounts.update(mount.id for _, mount in _mounted(scene, until, job.paths.proc))
    return scene


def _spare_the_system(numbers: "set[str]", job: Job) -> None:
    root = mounts.at("/", mounts.own(job.paths.proc))
    if root is not None and root.device in numbers:
        text = "a configured volume or mount point is on the root filesystem's device: not touched"
        raise Failed("configuration", text)


def _free(job: Job, scene: _Scene, until: float) -> None:
    try:
        while True:
            left = _unmount_everywhere(job, scene, until)
            gone = {number for number in scene.where.devices if devices.is_gone(number, job.paths)}
            in_use = bool(left) or _used(scene, gone, until)
            if not in_use and not gone:
                return
            found = holders.find(scene.where, until, job.paths.proc)
            scene.seen.update({holder.pid: holder for holder in found})
            if not in_use and (not found or _had_their_chance(scene)):
                # Who still has a dead filesystem open can neither write to it nor mount it again.
                return
            if time.time() >= until:
                raise Failed("busy", _who_holds(job, scene, found, left))
            _press(job, scene, found, left, until)
    finally:
        job.holders = holders.name_them(scene.seen.values(), scene.signals)


def _had_their_chance(scene: _Scene) -> bool:
    return scene.grace_until is not None and time.time() > scene.grace_until + DYING_SECONDS


def _unmount_everywhere(job: Job, scene: _Scene, until: float) -> "list[tuple[Optional[Namespace], Mount]]":
    """Unmount in each namespace what is deepest first; what is still mounted after that."""
    for namespace, mount_list in _by_namespace(_mounted(scene, until, job.paths.proc)):
        targets = [(mount, 0) for mount in reversed(mount_list)]
        gone = [m for m in mount_list if devices.is_gone(m.device, job.paths)]
        soon = time.time() + GONE_SECONDS
        codes = mounts.unmount(namespace, targets, soon if gone else max(until, soon))
        lazily = [
            (mount, mounts.MNT_DETACH)
            for mount, _ in targets
            if codes[mount.point] and (mount in gone or mount.device not in scene.where.devices)
        ]
        if lazily:
            # A pulled device: no write can be lost by it that is not lost already. A filesystem
            # of somebody else's mounted inside ours: it lives on for who uses it, and ours is free.
            mounts.unmount(namespace, lazily, time.time() + GONE_SECONDS)
            mounts.unmount(namespace, targets, soon if gone else max(until, soon))
            job.note(f"detached lazily: {', '.join(mount.point for mount, _ in lazily)}")
    return _mounted(scene, until, job.paths.proc)


def _mounted(scene: _Scene, until: float, proc: str) -> "list[tuple[Optional[Namespace], Mount]]":
    found = []
    for namespace, table in mounts.everywhere(until, proc):
        found += [(namespace, mount) for mount in mounts.on_devices(table, scene.where.devices)]
    return found


def _by_namespace(
    found: "list[tuple[Optional[Namespace], Mount]]",
) -> "list[tuple[Optional[Namespace], list[Mount]]]":
    grouped: "dict[Optional[Namespace], list[Mount]]" = {}
    for namespace, mount in found:
        grouped.setdefault(namespace, []).append(mount)
    return list(grouped.items())


def _used(scene: _Scene, gone: "set[str]", until: float) -> bool:
    """Whether the kernel uses a device though no table shows a mount; see `devices.in_use`."""
    soon = max(until, time.time() + 1.0)
    alive = [device for device in scene.known.values() if device.number not in gone]
    return any(devices.in_use(device, soon) for device in alive)


def _press(
    job: Job,
    scene: _Scene,
    found: "list[holders.Holder]",
    left: "list[tuple[Optional[Namespace], Mount]]",
    until: float,
) -> None:
    """SIGTERM to who is new while there is grace, SIGKILL after it, then give them a moment."""
    now = time.time()
    if scene.grace_until is None:
        scene.grace_until = now + min(GRACE_SECONDS, (until - now) / 3)
    if now < scene.grace_until:
        fresh = [holder for holder in found if holder.pid not in scene.signals]
        _tell(scene, fresh, signal.SIGTERM, "TERM", job.paths.proc)
        time.sleep(AGAIN_SECONDS)
        return
    _tell(scene, found, signal.SIGKILL, "KILL", job.paths.proc)
    ours = [mount.point for namespace, mount in left if namespace is None]
    if ours:
        killed = strike.strike(
            list(reversed(ours)), scene.where, min(until, now + STRIKE_SECONDS), job.paths.proc
        )
        scene.signals.update(dict.fromkeys(killed, "KILL"))
    else:
        time.sleep(AGAIN_SECONDS)


def _tell(scene: _Scene, found: "list[holders.Holder]", number: int, name: str, proc: str) -> None:
    for pid in holders.tell(found, scene.where, number, proc):
        scene.signals[pid] = name


def _who_holds(
    job: Job,
    scene: _Scene,
    found: "list[holders.Holder]",
    left: "list[tuple[Optional[Namespace], Mount]]",
) -> str:
    points = {mount.point for _, mount in left} or {volume.mount for volume in job.volumes}
    names = [f"{h.name} (pid {h.pid}, {h.how} {h.path})" for h in found[:5]]
    names += holders.by_kernel(points, job.paths.sys_block, job.paths.proc)
    who = ", ".join(names) or "the kernel, for a reason that no table shows"
    return f"still in use at the deadline: {_places(left) or 'not mounted'}; held by {who}"


def _places(left: "list[tuple[Optional[Namespace], Mount]]") -> str:
    places = []
    for namespace, mount in left:
        where = "" if namespace is None else f" in {namespace.inode}"
        who = f" (pid {namespace.pid})" if namespace is not None and namespace.pid else ""
        places.append(f"{mount.point}{where}{who}")
    return ", ".join(places)
