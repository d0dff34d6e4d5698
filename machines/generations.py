"""What a reinstall and a restore have in common: the root gets a new generation, and perhaps another image.

The machine's row carries the wish from the moment it is saved, so nobody starts a half-made root; it takes it back
where the job ended before anything was lost. The job itself knows both, and goes on the same either way.
"""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from dom0.errors import Refused
from dom0.host import HostConfig
from hosts.models import Job, JobStep
from machines.kinds import machine_of, spec_of
from machines.models import Image, Machine
from machines.specs import LOCKED, MachineSpec


def wish(machine: Machine, image: Image, wanted: str) -> dict[str, Any]:
    """Save that the machine, whose row is locked, gets a new root from `image`; what its job has to remember.

    It is to run afterwards, unless it is `wanted` off.
    """
    was = {"generation": machine.root_generation, "image": machine.image_id, "wanted": machine.wanted}
    now = {"generation": machine.root_generation + 1, "image": image.pk, "wanted": wanted}
    Machine.objects.filter(pk=machine.pk).update(
        root_generation=now["generation"], image=now["image"], wanted=now["wanted"]
    )
    return {**now, "image_name": image.name, "was": was}


def spec_of_wish(job: Job, config: HostConfig) -> MachineSpec:
    """The machine with the root that the job is about. Raises Refused."""
    image = Image.objects.filter(pk=job.args["image"]).first()
    if image is None:
        raise Refused(f"The image {job.args['image_name']} is no more.", note="Nothing was changed. Choose another.")
    machine = machine_of(job)
    machine.image, machine.root_generation, machine.wanted = image, job.args["generation"], job.args["wanted"]
    return spec_of(machine, config, password=job.args.get("password", LOCKED))


def settle(job: Job) -> None:
    """Book the wish: the job ended well, or it stopped after it had begun to overwrite the root."""
    Machine.objects.filter(pk=job.target_id).update(
        root_generation=job.args["generation"], image=job.args["image"], wanted=job.args["wanted"]
    )


def ended_well(job: Job) -> None:
    """Book the wish, and what the job has just looked at, before the watcher's next round."""
    settle(job)
    now = timezone.now()
    Machine.objects.filter(pk=job.target_id).update(observed=job.args["wanted"], observed_at=now, since=now)


def unsettle(job: Job) -> None:
    """A job that stopped: the wish stands where something was lost already, otherwise all is as it was."""
    job = Job.objects.get(pk=job.pk)
    begun = job.steps.exclude(destroys="").exclude(state__in=(JobStep.State.TODO, JobStep.State.ALREADY)).exists()
    if begun or job.args.get("begun"):
        Job.objects.filter(pk=job.pk).update(args={**job.args, "begun": True})
        settle(job)
        return
    was = job.args["was"]
    Machine.objects.filter(pk=job.target_id).update(
        root_generation=was["generation"], image=was["image"], wanted=was["wanted"]
    )
