"""Chromium against the live panel: `page_as(user)` opens a page signed in; what its console says must be nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page

from tests.browser.faces import until_answered

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
# Chromium says so itself of every answer that is not 2xx; the tests look at the page instead.
OF_THE_ANSWER = "Failed to load resource: the server responded with a status of 4"
# The live server speaks no WebSocket; tests/browser/test_console.py answers in its place.
NO_WEBSOCKET = "Error during WebSocket handshake: 'Upgrade' header is missing"


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    return {**browser_type_launch_args, "executable_path": "/usr/bin/chromium", "args": list(OPTIONS)}


@pytest.fixture
def troubles() -> list[str]:
    """What the console of any page of this test said, and every script error."""
    return []


@pytest.fixture
def page_as(browser: Browser, live_server, troubles: list[str]) -> Iterator[Callable[..., Page]]:
    """`page_as(user, width=1360, scheme="light")`: a new page of the live panel, signed in as `user` (None: nobody)."""
    contexts = []

    def open_page(user, *, width: int = 1360, height: int = 900, scheme: str = "light", script: bool = True) -> Page:
        context = browser.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        contexts.append(context)
        if user is not None:
            client = Client()  # of its own: one client has one session, and a second sign-in would end the first
            client.force_login(user)
            cookie = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    until_answered()
    assert [t for t in troubles if not t.startswith(OF_THE_ANSWER) and NO_WEBSOCKET not in t] == []


@pytest.fixture
def fresh(host):
    host.seen_at = timezone.now() + timedelta(seconds=100)  # stays fresh however slow this box is
    host.figures = {"free_bytes": 118 * 2**30, "free_memory_mib": 3800}
    host.save()
    return host


@pytest.fixture
def isp(fulup, dominig, fresh, web_dom, zones, image):
    """A small network with a bit of everything: machines in three states, published ports, a pending one, policy."""
    from firewall.models import PolicyCell, PublishedService, Revision, ZoneRestriction
    from firewall.rows import site_of
    from firewall.specs import as_dict
    from machines.models import Machine

    for n, (name, zone, observed, owner) in enumerate(
        (
            ("Common", "zFulup", "running", fulup),
            ("WEB-Ful", "zFulup", "stopped", fulup),
            ("Brendan", "zDominig", "missing", dominig),
        ),
        start=3,
    ):
        Machine.objects.create(
            host=fresh, zone=zones[zone], owner=owner.own, name=name, address=zones[zone].gateway[:-1] + str(n),
            mac=f"aa:bb:cc:dd:00:{n:02}", vif=f"fr{n}", uid_base=65536 * (100 + n), memory_mib=64, root_mib=128,
            image=image, observed=observed, observed_at=timezone.now(), built_at=timezone.now(),
            wanted="stopped" if observed == "stopped" else "running",
        )  # fmt: skip

    def publish(name, zone, external, port, target, target_port):
        PublishedService.objects.create(
            host=fresh, name=name, zone=zones[zone], external=zones[external].external, proto="tcp", port=port,
            port_last=port, target=target, target_port=target_port,
        )  # fmt: skip

    publish("FulupSMTP", "zFulup", "zFulup", 25, "10.10.1.3", 2525)
    publish("DomiSMTP", "zFulup", "zDominig", 25, "10.10.1.3", 2525)
    publish("DomiWEB", "zDominig", "zDominig", 80, "10.10.2.2", 8080)
    publish("DomiSSH", "zDominig", "zDominig", 22, "10.10.2.2", 22)
    for source, target in (("vpn", "zone:1"), ("zone:1", "vpn"), ("vpn", "zone:2"), ("zone:2", "vpn"), ("vpn", "dom0")):
        PolicyCell.objects.create(host=fresh, source=source, target=target)
    ZoneRestriction.objects.create(
        zone=zones["zDominig"], name="DomiNoSPAM", direction="out", proto="tcp", port=25, port_last=25
    )
    PublishedService.objects.update(live=True)
    Revision.objects.create(
        host=fresh, number=1, site=as_dict(site_of(fresh)), files={}, digest="0" * 64, author=fulup, state="live"
    )
    publish("FulupWEB", "zFulup", "zFulup", 80, "10.10.1.4", 8080)
    return fresh
