"""The cast: fulup operates, dominig owns WEB-Dom, brendan owns nothing, agnes audits."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("FRIDU_BROKER_URL", "memory://")
# pytest-playwright keeps an event loop in the main thread; Django must not take that for an async view.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


#: How long an example takes hangs on what else the box does.
hypothesis.settings.register_profile("fridu", deadline=None)
hypothesis.settings.load_profile("fridu")

HERE = Path(__file__).parent
#: The hosts' and the lab's files that take longest. Begun first, they leave no processor waiting for the last of them.
LONGEST = (
    "host/test_guard.py",
    "host/test_model.py",
    "host/test_machine_life.py",
    "host/test_life.py",
    "host/test_rescue.py",
    "host/test_create.py",
    "host/test_killed.py",
    "host/test_qemu.py",
    "host/test_flows.py",
    "hostile/test_exhaustion.py",
    "host/test_bandwidth.py",
    "lab/test_killed.py",
    "lab/test_life.py",
    "lab/test_debian.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Marked `database`: what asks for one, and so is run on both kinds of them."""
    if {"db", "transactional_db"} & {*getattr(item, "fixturenames", ())} or item.get_closest_marker("django_db"):
        item.add_marker("database")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, for `--dist loadfile --no-loadscope-reorder`; the rest keeps its order."""
    rank = {str(HERE / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(str(item.path), len(rank)))


class ProcessStarted(BaseException):
    """A unit test started a process."""


@pytest.fixture(autouse=True)
def no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside host, demo and browser tests, dom0's runner must not start anything."""
    if not any(request.node.get_closest_marker(m) for m in ("host", "demo", "browser")):
        from dom0 import runner

        def refuse(argv: tuple[str, ...], **_: object) -> None:
            raise ProcessStarted(argv)

        monkeypatch.setattr(runner, "run", refuse)


@pytest.fixture(autouse=True)
def _quick_passwords(settings) -> None:
    """Argon2 is slow on purpose; four users a test would take longer than the test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def _transactional(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    return bool(marker and marker.kwargs.get("transaction")) or bool(
        {"transactional_db", "live_server", "django_db_reset_sequences"} & set(request.fixturenames)
    )


@pytest.fixture
def audit_unlocked(db):
    """The audit log without its triggers: for forging entries, and for the flush after a transactional test.

    What lifted them in a transaction is undone with it; after a flush, post_migrate puts them back.
    """
    from audit import triggers

    triggers.remove()


@pytest.fixture(autouse=True)
def _flush_may_empty_the_audit_log(request: pytest.FixtureRequest):
    """Django empties every table after a transactional test; the triggers would rightly refuse."""
    if _transactional(request):
        request.getfixturevalue("transactional_db")
    yield
    if _transactional(request):
        from audit import triggers

        triggers.remove()


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    """What waits for an apply is counted, and a revision read, once a process; each test has its own database."""
    from firewall import rows, waiting

    rows.forget()
    waiting.forget()


@pytest.fixture
def fulup(db):
    from accounts.models import Owner, User

    user = User.objects.create_user("fulup", password="correct horse battery", role="operator")
    Owner.objects.create(name="fulup", person=user)
    return user


@pytest.fixture
def dominig(db):
    from accounts.models import Owner, User

    user = User.objects.create_user("dominig", password="correct horse battery", role="owner")
    Owner.objects.create(name="dominig", person=user)
    return user


@pytest.fixture
def brendan(db):
    from accounts.models import Owner, User

    user = User.objects.create_user("brendan", password="correct horse battery", role="owner")
    Owner.objects.create(name="brendan", person=user)
    return user


@pytest.fixture
def agnes(db):
    from accounts.models import User

    return User.objects.create_user("agnes", password="correct horse battery", role="auditor", is_staff=True)


@pytest.fixture
def host(db):
    from django.utils import timezone

    from hosts.models import Host

    facts = {
        "libvirt": "lxc:///system",
        "nics": [{"name": "eth0", "addresses": ["91.121.65.140", "87.98.130.56"]}],
        "bridge_prefix": "xen-br",
        "vpn": {"interface": "tun0", "address": "10.10.95.38", "network": "10.10.95.0/24"},
        "panel_port": 8000,
        "admin_ssh_port": 22,
    }
    return Host.objects.create(name="ns3100421", facts=facts, seen_at=timezone.now())


@pytest.fixture
def zones(host):
    """zFulup (10.10.1.0/24, 91.121.65.140) and zDominig (10.10.2.0/24, 87.98.130.56)."""
    from zones.models import ExternalAddress, Zone

    made = {}
    for number, (name, ip) in enumerate((("zFulup", "91.121.65.140"), ("zDominig", "87.98.130.56")), start=1):
        external = ExternalAddress.objects.create(host=host, nic="eth0", address=ip)
        made[name] = Zone.objects.create(
            host=host,
            name=name,
            number=number,
            bridge=f"xen-br{number}",
            gateway=f"10.10.{number}.1",
            external=external,
            domain=f"{name.lower()}.internal",
        )
    return made


@pytest.fixture
def image(host):
    from machines.models import Image, SiteDefaults

    made = Image.objects.create(
        host=host, name="tiny", archive="tiny.tar.gz", digest="a" * 64, family="tiny", min_root_mib=32
    )
    SiteDefaults.objects.create(host=host, image=made, memory_mib=64, root_mib=128)
    return made


@pytest.fixture
def web_dom(zones, image, dominig):
    """dominig's machine WEB-Dom, 10.10.2.2, built and running."""
    from django.utils import timezone

    from machines.models import Machine

    return Machine.objects.create(
        host=image.host,
        zone=zones["zDominig"],
        owner=dominig.own,
        name="WEB-Dom",
        address="10.10.2.2",
        mac="aa:bb:cc:dd:02:02",
        vif="fr1",
        uid_base=1_000_000 * 4,
        memory_mib=64,
        root_mib=128,
        image=image,
        observed="running",
        observed_at=timezone.now(),
        built_at=timezone.now(),
    )
