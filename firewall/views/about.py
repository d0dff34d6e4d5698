"""What the pages share: which host they speak of."""

from __future__ import annotations

from django.http import Http404, HttpRequest

from hosts.models import Host


def host_of(request: HttpRequest) -> Host | None:
    """The host named by ?host=, else the first; None where no worker has reported one yet.

    Raises Http404 for a name no host has.
    """
    name = request.GET.get("host", "")
    found = Host.objects.filter(name=name).first() if name else Host.objects.first()
    if name and found is None:
        raise Http404
    return found


def known_host(request: HttpRequest) -> Host:
    """The same where the page makes no sense without one. Raises Http404."""
    host = host_of(request)
    if host is None:
        raise Http404
    return host
