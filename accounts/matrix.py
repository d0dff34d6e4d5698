"""Who may do what, and behind which address: the docs' page and the matrix test are made from this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from accounts.access import OUTSIDE, RULES, Outside, Role, Rule

ADMIN = "admin.view"


@dataclass(frozen=True, kw_only=True)
class Route:
    """One address of the panel. `action` is what its view declares; None where it declares nothing."""

    name: str
    path: str
    methods: tuple[str, ...]
    action: str | None
    pattern: URLPattern

    @property
    def rule(self) -> Rule | None:
        return RULES.get(self.action or "")

    @property
    def outside(self) -> Outside | None:
        return OUTSIDE.get(self.name)


def routes() -> list[Route]:
    """Every route there is, the admin's too, by path."""
    return sorted(_walk(get_resolver().url_patterns, "/", ()), key=lambda r: (r.path, r.name))


def _walk(patterns: Any, path: str, names: tuple[str, ...]) -> Iterator[Route]:
    for pattern in patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, here, (*names, pattern.namespace) if pattern.namespace else names)
        elif isinstance(pattern, URLPattern):
            yield _route(pattern, here, names)


def _route(pattern: URLPattern, path: str, names: tuple[str, ...]) -> Route:
    view = pattern.callback
    in_admin = names[:1] == ("admin",)
    return Route(
        name=":".join([*names, pattern.name or ""]),
        path=path,
        methods=("GET", "POST") if in_admin else getattr(view, "methods", ()),
        action=ADMIN if in_admin else getattr(view, "access", None),
        pattern=pattern,
    )


def page() -> str:
    """docs/access.md, whole."""
    found = routes()
    parts = [
        "# Who may do what",
        "",
        "Made by `manage.py accessmatrix > docs/access.md` from the one policy table (`accounts/access.py`) and the "
        "routes; a test fails where this page is not current. Each view, each list and each service asks that table.",
        "",
        "- **all**: on everything. **own**: on machines of theirs, through their own or an association, and on those "
        "somebody lets them use with that verb.",
        "- Who may not even see a thing gets the page for a wrong address (404); who sees it but may not do that, 403.",
        "- A user of the panel who is not signed in is sent to the sign-in page.",
        "- The Django admin shows; nobody can change anything there.",
        "",
        "## Actions",
        "",
        "| action | to | " + " | ".join(role.label for role in Role) + " | verb of a grant |",
        "|---|---|" + "---|" * (len(Role) + 1),
        *(_action(action, rule) for action, rule in RULES.items()),
        "",
        "## Addresses",
        "",
        "| address | methods | action |",
        "|---|---|---|",
        *(_address(route) for route in found if route.action != ADMIN),
        "| `/admin/…` | GET | admin.view |",
        "",
    ]
    return "\n".join(parts)


def _action(action: str, rule: Rule) -> str:
    cells = [_may(rule, role) for role in Role]
    return f"| {action} | {rule.says} | {' | '.join(cells)} | {rule.verb.value if rule.verb else ''} |"


def _may(rule: Rule, role: Role) -> str:
    if role in rule.roles:
        return "all"
    return "own" if rule.verb is not None and role == Role.OWNER else "–"


def _address(route: Route) -> str:
    who = "anybody: " if route.outside and not route.outside.signed_in else ""
    what = who + route.outside.says if route.outside else str(route.action)
    return f"| `{route.path}` | {', '.join(route.methods)} | {what} |"
