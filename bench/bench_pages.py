# ruff: noqa: E402 - models can be imported once Django is set up
"""What a page costs the server at 10 and at 1000 services and machines: time, queries, against a bare page.

    python -m bench.bench_pages [--sizes 10,1000] [--rounds 21] [--profile /firewall/]

In a database of its own beside the one of FRIDU_DATABASE_URL (SQLite: in memory), warm, without DEBUG, through the
whole middleware, ways interleaved. The bare page has the same session and one query, and no template; its time is
what no page can go below. One service waits for an apply.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fridu_site.settings")
os.environ.setdefault("FRIDU_DATABASE_URL", "sqlite://:memory:")

import django

django.setup()

from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils import timezone

from accounts.models import Owner, User
from bench import sites
from firewall import rows, waiting
from firewall.models import Counter, PublishedService, Revision, ZoneRestriction
from firewall.specs import INTERNET, as_dict
from hosts.models import Host
from machines.models import Image, Machine
from zones.models import ExternalAddress, Zone

BARE = "/bare/"
PAGES = (
    BARE,
    "/",
    "/machines/",
    "/zones/",
    "/firewall/services/",
    "/firewall/services/?by=machine",
    "/firewall/services/?q=app1",
    "/firewall/",
    "/firewall/policy/",
    "/firewall/policy/?source=z1&target=z2",
    "/firewall/policy/?source=internet&target=z2",
    "/firewall/policy/restrictions/",
    "/firewall/policy/rules/",
    "/firewall/policy/reach/",
    "/firewall/policy/why/",
    "/firewall/revisions/",
    "/firewall/trial/",
    "/firewall/drift/",
    "/jobs/",
    "/audit/",
)


def bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user.pk} of {Host.objects.count()}")


urlpatterns = [path("bare/", bare), path("", include("fridu_site.urls"))]


@contextmanager
def filled(size: int) -> Iterator[User]:
    """`size` services and as many machines, and the operator who looks at them; gone afterwards."""
    with transaction.atomic():
        yield fill(size)
        transaction.set_rollback(True)


def fill(size: int) -> User:
    """Rows of `sites.site(size)`, a revision of them in force, and one service changed since."""
    user = User.objects.create_user("bench", role="operator")
    wish = sites.site(size)
    vpn = {"interface": "tun0", "network": "10.10.95.0/24"}
    facts = {"nics": [{"name": sites.NIC}], "vpn": vpn, "panel_port": 8000, "admin_ssh_port": 22}
    figures = {"free_memory_mib": 4096, "free_bytes": 10**11}
    host = Host.objects.create(name="bench", facts=facts, figures=figures, seen_at=timezone.now())
    zones = {
        zone.number: Zone.objects.create(
            host=host,
            name=zone.name,
            number=zone.number,
            bridge=zone.bridge,
            gateway=zone.gateway,
            prefix=24,
            external=ExternalAddress.objects.create(host=host, nic=sites.NIC, address=zone.external),
        )
        for zone in wish.zones
    }
    machines(host, zones, user, size)
    PublishedService.objects.bulk_create(
        PublishedService(
            host=host,
            name=s.name,
            zone=zones[s.zone or 1],
            external=zones[s.zone or 1].external,
            proto=s.proto,
            port=s.port_first,
            port_last=s.port_last,
            target=s.target,
            target_port=s.target_ports.first,
            live=True,
        )
        for s in wish.services
    )
    for zone in zones.values():
        ZoneRestriction.objects.create(
            zone=zone, name=f"NoMail{zone.number}", direction="out", proto="tcp", port=25, port_last=25
        )
    Counter.objects.bulk_create(
        Counter(host=host, kind=Counter.Kind.SERVICE, name=s.name, week=timezone.localdate(), count=n, raw=n)
        for n, s in enumerate(wish.services)
    )
    site = as_dict(rows.site_of(host))
    live = {"state": "live", "live_at": timezone.now()}
    Revision.objects.create(host=host, number=1, site=site, files={}, digest="0" * 64, author=user, **live)
    PublishedService.objects.filter(name=f"app{size // 2}").update(target_port=9999, live=False)
    assert rows.site_of(host).cell("z1", INTERNET).everything
    return user


def machines(host: Host, zones: dict[int, Zone], user: User, size: int) -> None:
    owner = Owner.objects.create(name="bench", person=user)
    image = Image.objects.create(host=host, name="tiny", archive="tiny.tar.gz", digest="a" * 64, family="tiny")
    found = []
    for n in range(size):
        zone, place = n % sites.ZONES + 1, n // sites.ZONES
        found.append(
            Machine(
                host=host,
                zone=zones[zone],
                owner=owner,
                image=image,
                name=f"web-{n}",
                address=sites.machine(zone, place),
                mac=f"aa:bb:cc:00:{n // 256:02x}:{n % 256:02x}",
                vif=f"fr{n}",
                uid_base=65536 * (n + 1000),
                memory_mib=64,
                root_mib=128,
                observed="running",
                observed_at=timezone.now(),
                built_at=timezone.now(),
            )
        )
    Machine.objects.bulk_create(found)


def measure(rounds: int, user: User) -> dict[str, tuple[float, int]]:
    """Each page's median time (ms) and its queries."""
    client = Client()
    client.force_login(user)
    waiting.forget()
    for page in PAGES:
        assert client.get(page).status_code == 200, page
    times: dict[str, list[float]] = {page: [] for page in PAGES}
    for _ in range(rounds):
        for page in PAGES:
            began = time.process_time()
            client.get(page)
            times[page].append((time.process_time() - began) * 1000)
    return {page: (statistics.median(ms), queries(client, page)) for page, ms in times.items()}


def queries(client: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as seen:
        client.get(page)
    return len(seen)


def profile(page: str, user: User) -> None:
    """Where the time of one page goes, and its queries."""
    client = Client()
    client.force_login(user)
    client.get(page)
    with CaptureQueriesContext(connection) as seen:
        client.get(page)
    for query in seen:
        print(f"{float(query['time']) * 1000:6.1f}", query["sql"][:200])
    took = cProfile.Profile()
    took.enable()
    for _ in range(10):
        client.get(page)
    took.disable()
    pstats.Stats(took).sort_stats("cumulative").print_stats(70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,1000")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--profile", default="")
    wish = parser.parse_args()
    found = {}
    sizes = [int(n) for n in wish.sizes.split(",")]
    name = settings.DATABASES["default"]["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    with override_settings(ROOT_URLCONF=__name__, DEBUG=False, ALLOWED_HOSTS=["testserver"]):
        for size in sizes:
            with filled(size) as user:
                if wish.profile:
                    profile(wish.profile, user)
                    continue
                found[size] = measure(wish.rounds, user)
    connection.creation.destroy_test_db(name, verbosity=0)
    if found:
        show(found)


def show(found: dict[int, dict[str, tuple[float, int]]]) -> None:
    print(f"{connection.vendor}, load {os.getloadavg()[0]:.1f}; ms (times a bare page), queries")
    print(
        "| page | "
        + " | ".join(f"{size} services and machines" for size in found)
        + " |\n|"
        + "---|" * (len(found) + 1)
    )
    for page in PAGES:
        cells = (
            f"{ms:.1f} ({ms / pages[BARE][0]:.1f}×), {count}"
            for pages in found.values()
            for ms, count in (pages[page],)
        )
        print(f"| {page} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
