"""What a lower room's page shows of a higher room, without an import upwards.

Apps register providers in AppConfig.ready(). Each gets the request, checks access itself by the querysets of
`request.user`, and gives what that user may see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.http import HttpRequest

Mark = Literal["run", "off", "busy", "bad", "wait", "miss", "old"]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Something that waits for a person: what is so, as a title and a sentence, and the page that mends it."""

    state: Mark
    title: str
    text: str
    url: str
    button: str = "Look"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One hit of the search box."""

    title: str
    sub: str
    url: str


Asker = Callable[[HttpRequest], Iterable[Attention]]
Searcher = Callable[[HttpRequest, str], Iterable[Found]]
Fragment = Callable[[HttpRequest, Any], str]

_askers: list[Asker] = []
_searchers: list[Searcher] = []
_fragments: dict[str, list[Fragment]] = {}


def attention(provider: Asker) -> None:
    """Have `provider(request)` say what needs the viewer."""
    _askers.append(provider)


def search(provider: Searcher) -> None:
    """Have `provider(request, words)` look for what the viewer typed; at most ten hits each."""
    _searchers.append(provider)


def fragment(place: str, provider: Fragment) -> None:
    """Have `provider(request, thing)` add HTML at `place`, e.g. "machine.detail"; escape by rendering a template."""
    _fragments.setdefault(place, []).append(provider)


def needs(request: HttpRequest) -> list[Attention]:
    """All that needs the viewer, failures first."""
    order = ("bad", "miss", "wait", "old", "busy", "run", "off")
    return sorted((item for ask in _askers for item in ask(request)), key=lambda item: order.index(item.state))


def found(request: HttpRequest, words: str) -> list[Found]:
    """Every provider's hits, in the order the providers were registered."""
    return [hit for look in _searchers for hit in look(request, words)]


def fragments(request: HttpRequest, place: str, thing: Any) -> Iterator[str]:
    """What higher rooms put at `place` of the page of `thing`."""
    return (provider(request, thing) for provider in _fragments.get(place, ()))
