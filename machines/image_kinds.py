"""The images' job kinds: one is made, one is deleted, a kernel is taken out of one."""

from __future__ import annotations

from django.utils import timezone

from dom0 import golden, host, image_files
from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from machines import image_plan, image_services
from machines.image_plan import Unwanted, Wanted
from machines.models import Image

MIB = 1 << 20


def register_kinds() -> None:
    """Make the images' kinds known; called once at start-up."""
    make = Kind(
        name="image.make",
        queue="work",
        approval="none",
        scope=lambda job, config: Scope(archives=(_image(job).archive,), files=(_wanted(job, config).note,)),
        plan=lambda job, state, config: image_plan.plan_make(_wanted(job, config), state),
        locks=_locks,
        done=_made,
    )
    delete = Kind(
        name="image.delete",
        queue="work",
        approval="own",
        scope=_delete_scope,
        plan=_delete,
        locks=_locks,
        done=lambda job: void(Image.objects.filter(pk=job.target_id).delete()),
    )
    kernel = Kind(
        name="image.kernel",
        queue="work",
        approval="none",
        scope=lambda job, config: Scope(files=(_kernel_note(job, config),)),
        plan=_kernel,
        locks=_locks,
    )
    for kind in (make, delete, kernel):
        register(kind)


def void(_: object) -> None:
    """A booking answers nothing."""


def _locks(job: Job) -> tuple[str, ...]:
    return (f"image-{job.target_id}",)


def _image(job: Job) -> Image:
    image = Image.objects.select_related("host").filter(pk=job.target_id).first()
    if image is None:
        raise Refused(f"The image {job.target_text} is no more.", note="Add it anew if you still want it.")
    return image


def _wanted(job: Job, config: HostConfig) -> Wanted:
    image = _image(job)
    return Wanted(
        name=image.name,
        archive=image.archive,
        note=image_files.note(config, image.archive),
        file=job.args.get("file", ""),
        upload=job.args.get("upload", ""),
        size=int(job.args.get("size", 0)),
        suite=job.args.get("suite", ""),
        devices=image.devices,
    )


def _made(job: Job) -> None:
    """What the archive turned out to be."""
    image = Image.objects.filter(pk=job.target_id).first()
    facts = image_files.noted(host.load(), image.archive) if image else {}
    if image is None or not facts:
        return
    image.digest, image.family = facts["digest"], facts.get("family", Image.Family.OTHER)
    image.min_root_mib = -(-int(facts["root_bytes"]) // MIB)
    image.facts = {key: facts.get(key) for key in ("distribution", "version", "tools", "kernels", "left_out")}
    image.made_at = timezone.now()
    image.save(update_fields=["digest", "family", "min_root_mib", "facts", "made_at"])


def _unwanted(job: Job, config: HostConfig) -> Unwanted:
    image = _image(job)
    others = Image.objects.filter(host=image.host_id).exclude(pk=image.pk)
    path = golden.path_of(config, image.digest) if image.digest else ""
    shared = {"golden"} if image.digest and others.filter(digest=image.digest).exists() else set()
    if others.filter(archive=image.archive).exists():
        shared.add("archive")
    return Unwanted(
        name=image.name,
        archive=image.archive,
        archive_path=f"{config.images}/{image.archive}",
        note=image_files.note(config, image.archive),
        digest=image.digest,
        golden_path=path,
        facts=path.removesuffix(".ext4") + ".json" if path else "",
        shared=frozenset(shared),
    )


def _delete_scope(job: Job, config: HostConfig) -> Scope:
    gone = _unwanted(job, config)
    looked_at = tuple(path for path in (gone.note, gone.facts) if path)
    goldens = (gone.digest, f"{gone.digest}.ext3") if gone.digest else ()
    return Scope(archives=(gone.archive,), goldens=goldens, files=looked_at)


def _delete(job: Job, state: State, config: HostConfig) -> Plan:
    image_services.refuse_needed(_image(job))
    return image_plan.plan_delete(_unwanted(job, config), state)


def _kernel_note(job: Job, config: HostConfig) -> str:
    return image_files.kernel_note(config, f"{_image(job).name}-{job.args['kernel']}")


def _kernel(job: Job, state: State, config: HostConfig) -> Plan:
    image = _image(job)
    return image_plan.plan_kernel(
        state,
        archive=image.archive,
        digest=image.digest,
        kernel=job.args["kernel"],
        name=image.name,
        note=_kernel_note(job, config),
        pv=config.libvirt.startswith("xen:"),
    )
