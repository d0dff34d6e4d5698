"""`manage.py demo_load`: the demo's people, the real sample, and the machines its services point to.

All through the services and jobs the panel itself uses. Run again it does what is missing and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.access import Role
from accounts.models import Owner, SSHKey, User
from accounts.services import key_add
from audit.log import Actor
from dom0.errors import Refused
from firewall.imports import import_rules
from firewall.models import Revision
from firewall.trials import on_trial, revision_apply, revision_confirm
from hosts.models import Host, Job
from machines.models import Image, Machine, SiteDefaults
from machines.services import image_add, machine_create
from zones.models import VpnPeer, Zone
from zones.services import address_sync
from zones.vpn import peer_add

PEOPLE = (("operator", "fulup", Role.OPERATOR), ("owner", "dominig", Role.OWNER), ("auditor", "agnes", Role.AUDITOR))
MACHINES = (("Common", "10.10.1.2", "fridu"), ("WEB-Ful", "10.10.1.3", "fulup"), ("WEB-Dom", "10.10.2.2", "dominig"))
PATIENCE_S = 120.0


class Command(BaseCommand):
    help = "Load the demo: people, the production sample, its machines. Safe to run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rules", type=Path, required=True, help="the rule file to import")
        parser.add_argument("--image", type=Path, required=True, help="the tiny image's archive, in the images folder")
        parser.add_argument("--key", type=Path, required=True, help="the owner's public SSH key")
        parser.add_argument("--vpn", nargs=2, required=True, metavar=("NAME", "ADDRESS"), help="the operator's device")
        parser.add_argument("--logins", type=Path, required=True, help="where the one-time passwords are kept (0600)")

    def handle(self, *args: Any, **options: Any) -> None:
        host = _host()
        people = _people(options["logins"])
        operator = Actor(id=people["operator"].pk, name=people["operator"].username)
        key = _key(people["owner"], options["key"].read_text())
        address_sync(host)
        image = _image(operator, host, options["image"])
        try:
            self._network(operator, host, options["rules"].read_text())
            self._machines(operator, host, image, key)
            self._vpn(operator, host, people["operator"], *options["vpn"])
        except Refused as error:
            raise CommandError(f"{error.message} {error.note}") from error

    def _network(self, operator: Actor, host: Host, rules: str) -> None:
        if not Zone.objects.filter(host=host).exists():
            import_rules(operator, host, rules, approved=True)
            self.stdout.write("imported the production sample")
        self._wait(Job.objects.filter(host=host, state__in=Job.OPEN))
        if not Revision.objects.filter(host=host, state=Revision.State.LIVE).exists():
            self._wait([revision_apply(operator, host, why="first start of the demo", approved=True)])
            trial = on_trial(host)
            if trial is None:
                raise CommandError("The first revision is not on trial; see its job.")
            self._wait([revision_confirm(operator, trial.revision, trial.nonce)])

    def _machines(self, operator: Actor, host: Host, image: Image, key: SSHKey) -> None:
        jobs = []
        for name, address, owner in MACHINES:
            if Machine.objects.filter(host=host, name=name).exists():
                continue
            keys = (key,) if owner == key.user.username else ()
            zone = next(z for z in Zone.objects.filter(host=host) if address in z.network)
            jobs.append(
                machine_create(
                    operator, host=host, zone=zone, owner=Owner.objects.get_or_create(name=owner)[0], name=name,
                    address=address, image=image, ssh_keys=keys, reason="first start of the demo", approved=True,
                )
            )  # fmt: skip
        self._wait(jobs)

    def _vpn(self, operator: Actor, host: Host, user: User, name: str, address: str) -> None:
        if not VpnPeer.objects.filter(host=host, name=name).exists():
            _, job = peer_add(operator, host, user=user, name=name, address=address, reason="first start of the demo")
            self._wait([job] if job else [])

    def _wait(self, jobs: Iterable[Job]) -> None:
        """Follow jobs to their ends; the first that does not end well is the command's error."""
        end = time.monotonic() + PATIENCE_S
        for job in jobs:
            while job.is_open and time.monotonic() < end:
                time.sleep(0.05)
                job.refresh_from_db()
            if job.state not in (Job.State.DONE, Job.State.NOTHING):
                raise CommandError(f"Job {job.pk} ({job.title}) is {job.get_state_display()}: {job.message} {job.note}")
            self.stdout.write(f"{job.title}: {job.get_state_display()}")


def _host() -> Host:
    """This dom0, once its watcher has reported it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = Host.objects.exclude(seen_at=None).first()
        if found is not None:
            return found
        time.sleep(0.05)
    raise CommandError("The watcher has not reported this host; see its log.")


def _people(path: Path) -> dict[str, User]:
    """The three users, with passwords drawn once and kept in `path`, and the owners of the sample's machines."""
    logins = json.loads(path.read_text()) if path.exists() else {}
    made = {}
    with transaction.atomic():
        for part, name, role in PEOPLE:
            user = User.objects.filter(username=name).first()
            if user is None:
                password = secrets.token_urlsafe(12)
                user = User.objects.create_user(name, password=password, role=role, is_staff=role == Role.AUDITOR)
                Owner.objects.create(name=name, person=user)
                logins[part] = {"user": name, "password": password}
            made[part] = user
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(logins, file)
    return made


def _key(user: User, line: str) -> SSHKey:
    actor = Actor(id=user.pk, name=user.username)
    return user.ssh_keys.filter(name="demo").first() or key_add(actor, user, name="demo", line=line)


def _image(operator: Actor, host: Host, archive: Path) -> Image:
    """The tiny image by its digest, and site defaults that use it."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    image = Image.objects.filter(host=host, digest=digest).first()
    if image is None:
        image = image_add(
            operator, host=host, name="tiny", archive=archive.name, digest=digest, family="tiny", min_root_mib=32
        )
    SiteDefaults.objects.get_or_create(host=host, defaults={"image": image, "memory_mib": 64, "root_mib": 128})
    return image
