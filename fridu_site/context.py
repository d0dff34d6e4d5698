"""What every page's frame shows: navigation by role, counters, the host and its worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.http import HttpRequest

from accounts.access import Role, may_somewhere
from accounts.models import User
from firewall import trials
from firewall.models import Revision
from firewall.trials import Trial
from firewall.waiting import Waiting, waiting
from hosts.attention import counted
from hosts.models import Host, Job
from ui.links import link


@dataclass(frozen=True, kw_only=True)
class Item:
    """A link of the navigation; who can nowhere do `action` does not get it, nor who is not `only`.

    `under` names the page whose pages belong to it, where that is another one.
    """

    label: str
    name: str
    action: str
    only: Role | None = None
    under: str = ""
    url: str = ""
    here: bool = False
    waits: int = 0
    failed: int = 0

    @property
    def over(self) -> str:
        """Where the pages that belong to it begin."""
        return link(self.under) if self.under else self.url


NAV = (
    Item(label="Overview", name="overview", action="overview.view"),
    Item(label="Machines", name="machines:list", action="machine.view", only=Role.OPERATOR),
    Item(label="My machines", name="machines:mine", action="machine.view", only=Role.OWNER, under="machines:list"),
    Item(label="Zones", name="zones:list", action="zone.view"),
    Item(label="Published services", name="firewall:services", action="firewall.view"),
    Item(label="Firewall", name="firewall:changes", action="firewall.view"),
    Item(label="Policy", name="firewall:policy", action="firewall.view"),
    Item(label="Jobs", name="hosts:jobs", action="job.view"),
    Item(label="Hosts", name="hosts:list", action="host.view"),
    Item(label="People", name="accounts:people", action="people.view"),
    Item(label="Audit", name="audit:log", action="audit.view"),
    Item(label="Every record", name="admin:index", action="admin.view"),
)
MENU = (Item(label="Account and SSH keys", name="accounts:account", action="account.own"),)


class Shell:
    """The frame of one page. Nothing is looked up for a fragment, which has no frame."""

    version = settings.FRIDU_VERSION

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def _user(self) -> User | None:
        user = getattr(self._request, "user", None)
        return user if isinstance(user, User) else None

    @cached_property
    def host(self) -> Host | None:
        """The host the panel speaks of; whoever is not signed in learns nothing of it."""
        if not self._user:
            return None
        # In the same query: whether an apply is under way that has not come to its trial yet.
        applies = Job.objects.filter(host=OuterRef("pk"), kind=trials.APPLY, state__in=Job.OPEN)
        return counted(Host.objects.annotate(applying=Exists(applies))).first()

    @cached_property
    def _revisions(self) -> dict[str, Revision]:
        """The revision on trial and the one in force, as far as the viewer may know of them (1 query)."""
        if not (self._user and self.host and may_somewhere(self._user, "firewall.view")):
            return {}
        states = Revision.State
        found = Revision.objects.filter(host=self.host, state__in=(states.TRIAL, states.LIVE)).order_by("number")
        return {row.state: row for row in found.only("pk", "state")}

    @cached_property
    def trial(self) -> Trial | None:
        """What is on trial: every page of those who may decide says so."""
        return trials.on_trial(self.host) if self.host and Revision.State.TRIAL in self._revisions else None

    @cached_property
    def preparing(self) -> bool:
        """Whether a change is on its way to its trial: the pages of those who may decide say so before it begins."""
        user, states = self._user, Revision.State
        if not (user and getattr(self.host, "applying", False)) or not may_somewhere(user, "firewall.view"):
            return False
        live = self._revisions.get(states.LIVE)
        again = Job.objects.filter(
            host=self.host, kind=trials.APPLY, state__in=Job.OPEN, args__revision=live.pk if live else 0
        )
        return states.TRIAL not in self._revisions and not again.exists()  # the one in force is loaded without a trial

    @cached_property
    def waiting(self) -> Waiting | None:
        """Firewall changes nobody applied yet; nothing while a trial has the word."""
        user, states = self._user, Revision.State
        if not (user and self.host and may_somewhere(user, "firewall.view")) or states.TRIAL in self._revisions:
            return None
        live = self._revisions.get(states.LIVE)
        found = waiting(self.host, live.pk if live else None)
        return found if found.count else None

    @property
    def looks_again(self) -> bool:
        """Whether the page may be fetched anew by itself: it is no form somebody is typing in."""
        match = self._request.resolver_match
        return match is not None and "POST" not in getattr(match.func, "methods", ("POST",))

    @property
    def nav(self) -> list[Item]:
        path = self._request.path
        items = self._items(NAV)
        best = max((i.over for i in items if _covers(i.over, path)), key=len, default=None)
        waits = getattr(self.host, "waiting", 0) if self._user and self._user.is_operator else 0
        failed = getattr(self.host, "stopped", 0) if self._user and self._user.is_operator else 0
        return [
            replace(i, here=i.over == best, waits=waits, failed=failed)
            if i.name == "hosts:jobs"
            else replace(i, here=i.over == best)
            for i in items
        ]

    @property
    def menu(self) -> list[Item]:
        return self._items(MENU)

    @property
    def can_search(self) -> bool:
        return self._user is not None and may_somewhere(self._user, "machine.view")

    @property
    def help(self) -> str:
        return link("help") if self._user else ""

    @property
    def theme(self) -> str:
        """The colours the viewer chose; "" = as the system says."""
        return str(getattr(self._user, "theme", ""))

    @property
    def sign_out(self) -> str:
        return link("account_logout")

    def _items(self, table: tuple[Item, ...]) -> list[Item]:
        user = self._user
        if user is None:
            return []
        wanted = (i for i in table if may_somewhere(user, i.action) and i.only in (None, user.role))
        return [replace(i, url=url) for i in wanted if (url := link(i.name))]


def _covers(url: str, path: str) -> bool:
    return path == url or (url != "/" and path.startswith(url))


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `shell` for base.html."""
    return {"shell": Shell(request)}
