"""Point 6: bad input gets a sentence that says what to do; nothing is created."""

from __future__ import annotations

import hashlib

import pytest

from tests.demo.conftest import NAME, ROOT, Demo
from tests.demo.test_5_killed import ADD, IMAGES, ask

pytestmark = pytest.mark.demo
VOLUMES = ROOT / "var" / NAME / "lib" / "volumes"


@pytest.fixture(autouse=True)
def nothing_is_created(demo: Demo):
    def seen() -> tuple[object, ...]:
        return (
            demo.sql("select count(*) from machines_machine"),
            demo.sql("select count(*) from firewall_publishedservice"),
            sorted(p.name for p in VOLUMES.iterdir()),
        )

    before = seen()
    yield
    assert seen() == before


@pytest.mark.parametrize(
    ("name", "address", "says"),
    [
        ("it's", "10.10.1.60", "letters"),
        ("two\nlines", "10.10.1.60", "letters"),
        ("x" * 300, "10.10.1.60", "31"),
        ("../../etc", "10.10.1.60", "letters"),
        ("Fine", "10.99.1.60", "zone"),
        ("Fine", "10.10.1.1", "gateway"),
        ("Fine", "10.10.1.2", "Common"),
        ("Fine", "10.10.1.255", "10.10.1."),
        ("WEB-Dom", "10.10.1.60", "WEB-Dom"),
    ],
)
def test_a_wrong_name_or_address_is_refused_with_a_sentence(demo: Demo, name: str, address: str, says: str):
    done = demo.fridu("create", f"vmname={name}", f"vmip={address}", "--yes")
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_disk_too_small_for_the_image_is_refused(demo: Demo):
    done = demo.fridu("create", "vmname=Small", "vmip=10.10.1.61", "vmroot=17", "--yes")
    assert done.returncode != 0
    assert "32" in done.stdout + done.stderr


def test_a_volume_of_that_name_that_is_not_ours_is_left_alone(demo: Demo):
    foreign = VOLUMES / "Foreign-root.img"
    foreign.write_bytes(b"somebody else's")
    try:
        done = demo.fridu("create", "vmname=Foreign", "vmip=10.10.1.62", "--yes")
        assert done.returncode != 0
        assert "Foreign-root" in done.stdout + done.stderr
        assert foreign.read_bytes() == b"somebody else's"
        gone = demo.fridu("delete", "Foreign", "--yes")
        assert gone.returncode == 0, gone.stdout + gone.stderr
        assert foreign.read_bytes() == b"somebody else's"
    finally:
        foreign.unlink()


def test_a_corrupt_archive_is_refused_and_leaves_nothing(demo: Demo):
    archive = IMAGES / "broken.tar.gz"
    archive.write_bytes((IMAGES / "tiny.tar.gz").read_bytes()[:100_000])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    user = demo.state["logins"]["operator"]["user"]
    demo.python(ADD.format(user=user, digest=digest).replace("heavy", "broken").replace("1200", "32"))
    job = ask(demo, "Broken", "10.10.1.63", "broken", 64)
    assert demo.ended(job) in ("refused", "failed")
    message = demo.sql("select message from hosts_job where id = ?", job)[0][0]
    assert "broken.tar.gz" in message
    assert "Traceback" not in message
    gone = demo.fridu("delete", "Broken", "--yes")
    assert gone.returncode == 0, gone.stdout + gone.stderr


def test_an_archive_with_another_digest_is_refused(demo: Demo):
    archive = IMAGES / "other.tar.gz"
    archive.write_bytes((IMAGES / "tiny.tar.gz").read_bytes())
    user = demo.state["logins"]["operator"]["user"]
    demo.python(ADD.format(user=user, digest="0" * 64).replace("heavy", "other").replace("1200", "32"))
    job = ask(demo, "Other", "10.10.1.64", "other", 64)
    assert demo.ended(job) in ("refused", "failed")
    assert "digest" in demo.sql("select message from hosts_job where id = ?", job)[0][0]
    assert demo.fridu("delete", "Other", "--yes").returncode == 0


def test_a_port_published_twice_is_refused(demo: Demo):
    code = """
from accounts.models import User
from audit.log import Actor
from django.core.exceptions import ValidationError
from firewall.services import service_publish
from zones.models import ExternalAddress
from machines.models import Machine
u = User.objects.get(username={user!r})
m = Machine.objects.get(name="WEB-Ful")
try:
    service_publish(Actor(id=u.pk, name=u.username), host=m.host, name="Twice", proto="tcp", port=80,
        external=ExternalAddress.objects.get(address="91.121.65.140"), target=m, target_port=8080)
    out = "published"
except ValidationError as error:
    out = error.message_dict
"""
    said = demo.python(code.format(user=demo.state["logins"]["operator"]["user"]))
    assert "port" in said
    assert "FulupWEB" in said["port"][0]
