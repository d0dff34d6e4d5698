"""Every route × who asks × how: what answers is what the policy table says. A route that declares nothing fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import matrix, services
from accounts.access import may_somewhere
from accounts.matrix import Route
from accounts.models import Membership, Owner, SSHKey
from audit.log import Actor
from hosts.models import Job

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
WHO = ("anonymous", "dominig", "brendan", "fulup", "agnes")
ANSWERED = {200, 204, 302, 303, 409, 422, 426}  # 426: asks for a websocket
# Some routes are told by a query what they are about.
QUERY = dict.fromkeys(("firewall:cell", "firewall:cell_restore"), "?source=zFulup&target=zDominig")
# What the table can't say: whose the row is, besides machines.
PRIVATE = {"accounts:key_remove": "dominig"}
SEEN_NOT_DONE = {("hosts:job_approve", "fulup"): "only who asked for it approves a machine's plan"}

STRANGER = {
    "name": "Lost", "uuid": "6b1b36c5-3a7f-4ad1-9c3f-0d7a0f1f6c11", "kind": "lxc", "running": True, "ours": False,
    "memory_mib": 64, "vcpus": 1, "cards": [{"mac": "aa:bb:cc:dd:09:09", "bridge": "xen-br1", "vif": "frlost"}],
    "volumes": ["/srv/lost"], "more": {},
}  # fmt: skip

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db, fulup, dominig, brendan, agnes, host, zones, image, web_dom):
    """One row of everything a route can be about; dominig's wherever somebody's."""
    from firewall.models import CustomRule, PublishedService, Revision, ZoneRestriction
    from firewall.render import files
    from firewall.rows import site_of
    from firewall.specs import as_dict
    from machines.models import Expected, Snapshot
    from zones.models import VpnPeer

    key = SSHKey.objects.create(user=dominig, name="laptop", line="ssh-ed25519 AAAA", fingerprint="SHA256:x")
    chorale = Owner.objects.create(name="Chorale")
    member = Membership.objects.create(owner=chorale, user=brendan)
    job = Job.objects.create(
        kind="machine.start", host=host, title="Start WEB-Dom", target_kind="machine", target_id=web_dom.pk,
        target_text="WEB-Dom", actor=dominig, state=Job.State.PLANNED, digest="d",
    )  # fmt: skip
    service = PublishedService.objects.create(
        host=host, name="DomiWEB", zone=zones["zDominig"], external=zones["zDominig"].external, proto="tcp",
        port=80, port_last=80, target=web_dom.address, target_port=8080,
    )  # fmt: skip
    restriction = ZoneRestriction.objects.create(
        zone=zones["zFulup"], name="nosmtp", direction="out", proto="tcp", port=25, port_last=25
    )
    custom = CustomRule.objects.create(host=host, place="before-input", rule="-j ACCEPT", reason="r", author=fulup)
    site = site_of(host)
    revision = Revision.objects.create(
        host=host,
        number=1,
        site=as_dict(site),
        files=files(site).by_name,
        digest="0" * 64,
        author=fulup,
        state="live",
        live_at=timezone.now(),
    )
    peer = VpnPeer.objects.create(host=host, user=dominig, name="dominig-laptop", address="10.10.95.2")
    tried = Job.objects.create(
        kind="firewall.try", host=host, title="Try an own rule", target_kind="own rules", target_id=host.pk,
        target_text="own rules", actor=fulup, state=Job.State.REFUSED, message="v4.rules does not load",
        args={"rules": [{"place": "before-input", "rule": "-j LOG", "reason": "r", "expires": None}]},
    )  # fmt: skip
    kept = Expected.objects.create(
        host=host, zone=zones["zFulup"], name="Old", address="10.10.1.9", mac="aa:bb:cc:dd:ee:09", vif="fr0a0a0109"
    )
    host.figures["unknown"] = [STRANGER]
    host.save()
    snapshot = Snapshot.objects.create(
        machine=web_dom, label="before", image=image, taken_by=dominig, taken_at=timezone.now()
    )
    token = services.user_link(Actor(id=fulup.pk, name="fulup"), brendan)
    return {
        "machines": {"pk": web_dom.pk},
        "machines:adopt": {"pk": host.pk, "uuid": STRANGER["uuid"]},
        "machines:snapshot_restore": {"pk": web_dom.pk, "kept": snapshot.pk},
        "machines:snapshot_delete": {"pk": web_dom.pk, "kept": snapshot.pk},
        "machines:image_delete": {"pk": image.pk},
        "machines:image_kernel": {"pk": image.pk},
        "zones": {"pk": zones["zDominig"].pk},
        "zones:address_remove": {"pk": zones["zDominig"].external_id},
        "zones:vpn_revoke": {"pk": peer.pk},
        "zones:vpn_write": {"pk": host.pk},
        "hosts": {"pk": job.pk},
        "hosts:doctor": {"pk": host.pk},
        "audit": {"seq": 1},
        "accounts:key_remove": {"pk": key.pk},
        "accounts:invitation": {"token": token},
        "accounts:owner": {"pk": chorale.pk},
        "accounts:member_add": {"pk": chorale.pk},
        "accounts:member_remove": {"pk": member.pk},
        "accounts": {"pk": brendan.pk},
        "firewall:revision": {"pk": revision.pk},
        "firewall:again": {"pk": revision.pk},
        "firewall:unpublish": {"pk": service.pk},
        "firewall:change": {"pk": service.pk},
        "firewall:restriction_change": {"pk": restriction.pk},
        "firewall:restriction_remove": {"pk": restriction.pk},
        "firewall:restriction_restore": {"zone": restriction.zone_id},
        "firewall:custom_change": {"pk": custom.pk},
        "firewall:custom_remove": {"pk": custom.pk},
        "firewall:custom_tried": {"pk": tried.pk},
        "firewall:unkeep": {"pk": kept.pk},
        "clients": {},
        "sessions": {},
        "users": {user.username: user for user in (fulup, dominig, brendan, agnes)},
    }


def _path(route: Route, world: dict) -> str:
    """The route's address about the world's rows; a route about something else fails here."""
    wanted = set(route.pattern.pattern.converters)
    sample = world.get(route.name) or world.get(route.name.partition(":")[0], {})
    assert wanted <= set(sample), f"{route.name} is about {wanted}: give it a row in this test's world"
    return reverse(route.name, kwargs={key: sample[key] for key in wanted}) + QUERY.get(route.name, "")


def _client(world: dict, who: str) -> Client:
    """A browser of that person; one for the whole test (making one costs more than a request)."""
    if who not in world["clients"]:
        client = world["clients"][who] = Client(raise_request_exception=False)
        if who != "anonymous":
            client.force_login(world["users"][who])
    client = world["clients"][who]
    # What an earlier question left behind (a sign-out, say) is forgotten; its database changes were undone.
    session = world["sessions"].setdefault(who, client.cookies.get("sessionid") and client.cookies["sessionid"].value)
    client.cookies.clear()
    if session:
        client.cookies["sessionid"] = session
    return client


def _ask(client: Client, method: str, path: str):
    """The answer, after which everything is as before."""
    with transaction.atomic():
        answer = client.generic(method, path)
        transaction.set_rollback(True)
    return answer


def expected(route: Route, who: str, method: str, world: dict) -> set[int] | str:
    """Statuses the table allows, or the words "sign in"."""
    allowed = {*route.methods, *({"HEAD"} if "GET" in route.methods else set())}
    if route.outside:
        if method not in allowed:
            return {405}
        return "sign in" if who == "anonymous" and route.outside.signed_in else ANSWERED
    if who == "anonymous":
        return "sign in"
    user = world["users"][who]
    if not may_somewhere(user, route.action):
        return {404}
    if method not in allowed:
        return {405}
    about_a_row = bool(route.pattern.pattern.converters)
    if about_a_row and route.rule.verb and user.role not in route.rule.roles and who != "dominig":
        return {404}
    if PRIVATE.get(route.name, who) != who:
        return {404}
    return {403} if (route.name, who) in SEEN_NOT_DONE else ANSWERED


def _plain_routes() -> list[Route]:
    return [route for route in matrix.routes() if route.action != matrix.ADMIN]


def test_every_route_declares_its_access():
    silent = [f"{r.name} {r.path}" for r in _plain_routes() if not r.outside and r.rule is None]
    assert silent == []


def test_every_route_declares_its_methods():
    assert [r.name for r in _plain_routes() if not r.methods] == []


def test_no_route_changes_anything_by_get_alone():
    """A route without POST is only looked at; one with GET and POST shows a form."""
    assert {m for r in _plain_routes() for m in r.methods} <= {"GET", "POST"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("who", WHO)
def test_every_route_answers_as_the_table_says(world, who, method):
    wrong = []
    for route in _plain_routes():
        answer = _ask(_client(world, who), method, _path(route, world))
        wish = expected(route, who, method, world)
        got: object = answer.status_code
        if wish == "sign in":
            fine = got == 302 and answer["Location"].startswith("/sign-in/")
        else:
            fine = got in wish and not (got == 302 and answer["Location"].startswith("/sign-in/?"))
        if not fine:
            wrong.append(f"{method} {route.path} as {who}: {got}, the table says {wish}")
    assert wrong == []


def test_an_owner_finds_nothing_of_firewall_zones_hosts_and_other_machines(world, brendan):
    """The sentence of the issue itself, not derived from the table."""
    client = _client(world, "brendan")
    rooms = ("/firewall", "/zones", "/hosts", "/people", "/audit", "/machines/<int")
    closed = [route for route in _plain_routes() if route.path.startswith(rooms)]
    assert len(closed) > 30
    for route in closed:
        for method in route.methods:
            assert _ask(client, method, _path(route, world)).status_code == 404, route.path


def test_the_same_words_for_what_is_not_there_and_what_is_somebody_elses(world):
    client = _client(world, "brendan")
    other = client.get(reverse("machines:detail", args=[world["machines"]["pk"]]))
    nothing = client.get(reverse("machines:detail", args=[999_999]))
    assert other.status_code == nothing.status_code == 404
    assert _without_tokens(other.content) == _without_tokens(nothing.content)


def _without_tokens(html: bytes) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", html.decode())


# --- the Django admin -------------------------------------------------------------------------------------------------


def _admin_routes() -> list[Route]:
    return [route for route in matrix.routes() if route.action == matrix.ADMIN]


def _admin_path(route: Route, world: dict) -> str:
    path = route.path
    for model in admin.site._registry:
        prefix = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        if path.startswith(prefix):
            row = model._default_manager.first()
            path = path.replace("<path:object_id>", str(row.pk if row else 1))
    path = re.sub(r"\^\(\?P<app_label>.*\)/\$", "hosts/", path).replace(r"(?P<url>.*)$", "no/such/page/")
    return re.sub(r"<[^>]*>", "1", path)


@pytest.mark.parametrize("method", ["GET", "POST"])  # the door stands before any method is looked at
@pytest.mark.parametrize("who", ["anonymous", "dominig", "fulup"])
def test_the_admin_does_not_exist_for_others(world, who, method):
    wrong = []
    for route in _admin_routes():
        answer = _ask(_client(world, who), method, _admin_path(route, world))
        wish = 302 if who == "anonymous" else 404
        if answer.status_code != wish:
            wrong.append(f"{method} {route.path} as {who}: {answer.status_code}")
    assert wrong == []


@pytest.mark.parametrize("method", METHODS)
def test_the_admin_changes_nothing_for_anybody(world, method):
    wrong = []
    for route in _admin_routes():
        client = _client(world, "agnes")
        with CaptureQueriesContext(
            connection,
        ) as ran:
            answer = _ask(client, method, _admin_path(route, world))
        writes = [q["sql"] for q in ran if re.match(r"\s*(INSERT|UPDATE|DELETE)", q["sql"])]
        forbidden = [sql for sql in writes if not re.search(r"(audit_|django_session|accounts_cacherow)", sql[:60])]
        if forbidden or answer.status_code >= 500:
            wrong.append(f"{method} {route.path}: {answer.status_code} {forbidden}")
    assert wrong == []


def test_the_auditor_sees_every_record_and_no_way_to_change_one(world):
    client = _client(world, "agnes")
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert client.get(reverse(f"{name}_changelist")).status_code == 200, name
        assert client.get(reverse(f"{name}_add")).status_code == 403, name
        row = model._default_manager.first()
        if row is None:
            continue
        shown = client.get(reverse(f"{name}_change", args=[row.pk]))
        assert shown.status_code == 200, name
        for tell in ('name="_save"', 'class="deletelink"', 'class="addlink"'):
            assert tell not in shown.content.decode(), name
        assert client.get(reverse(f"{name}_delete", args=[row.pk])).status_code == 403, name
        assert client.post(reverse(f"{name}_change", args=[row.pk]), {"_save": "1"}).status_code == 403, name
        assert not model_admin.has_change_permission(shown.wsgi_request)


def test_the_admin_hides_passwords_secrets_and_sessions(world, dominig):
    from hosts.models import JobSecret

    JobSecret.objects.create(job=Job.objects.first(), name="root-hash", value="$6$very-secret")
    names = {model._meta.label for model in admin.site._registry}
    assert not names & {"hosts.JobSecret", "sessions.Session", "account.EmailAddress", "auth.Group"}
    client = _client(world, "agnes")
    for url in (
        reverse("admin:accounts_user_change", args=[dominig.pk]),
        reverse("admin:accounts_invitation_changelist"),
        reverse("admin:hosts_job_change", args=[Job.objects.first().pk]),
    ):
        html = client.get(url).content.decode()
        assert dominig.password not in html
        assert "very-secret" not in html


# --- the docs' page ---------------------------------------------------------------------------------------------------


def test_the_docs_matrix_is_current(capsys):
    call_command("accessmatrix")
    page = Path(__file__).parent.parent / "docs" / "access.md"
    assert page.read_text() == capsys.readouterr().out, "run: manage.py accessmatrix > docs/access.md"
