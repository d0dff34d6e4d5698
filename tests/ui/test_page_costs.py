"""What a page asks the database does not grow with what it shows, and what is kept of a site is never an old one."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from bench.bench_pages import BARE, PAGES, fill
from firewall import rows, services, waiting
from firewall.models import PolicyCell, PublishedService, Revision
from firewall.specs import as_dict
from hosts.models import Host
from machines.models import Machine
from zones.models import Zone

pytestmark = pytest.mark.django_db
#: Queries a page may take, its frame and the session (7) included; others at most 16.
MOST = {"/": 37, "/firewall/": 21}


def cost(client, page: str, size: int) -> int:
    """Queries of a page that was looked at before, in a database with so many machines and services."""
    with transaction.atomic():
        rows.forget()
        waiting.forget()
        client.force_login(fill(size))
        client.get(page)
        with CaptureQueriesContext(connection) as seen:
            assert client.get(page).status_code == 200
        transaction.set_rollback(True)
    return len(seen)


@pytest.mark.parametrize("page", [page for page in PAGES if page != BARE])
def test_a_page_asks_the_same_at_3_and_at_30(client, page) -> None:
    few = cost(client, page, 3)
    assert cost(client, page, 30) == few
    assert few <= MOST.get(page, 16)


def said(host: Host) -> list[str]:
    return [change.sentence for change in services.pending(host).changes]


def test_what_is_kept_of_a_site_gives_way_to_every_other_row(client) -> None:
    fill(30)
    host = Host.objects.get()
    (first,) = said(host)
    assert rows.site_of(host) is rows.site_of(host)
    assert said(host) == [first]
    target = PublishedService.objects.get(live=False).target
    Machine.objects.filter(address=target).update(name="renamed")
    assert "renamed" in said(host)[0]
    PublishedService.objects.filter(live=True, name="app1").update(port=4444, port_last=4444)
    assert any("tcp 4444" in sentence for sentence in said(host))
    PolicyCell.objects.create(host=host, source="zone:1", target="zone:2", ports="tcp:25")
    assert any("tcp 25 from z1 to z2" in sentence for sentence in said(host))
    Zone.objects.filter(number=3).update(name="other")
    assert any("zone other" in sentence for sentence in said(host))
    live = {"site": as_dict(rows.site_of(host)), "digest": "1" * 64}
    Revision.objects.update(**live)
    assert said(host) == []
