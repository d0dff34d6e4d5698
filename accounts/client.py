"""Where a request comes from."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The browser's address; "" where nobody trustworthy says it (a unix socket without a proxy).

    X-Forwarded-For counts only behind as many proxies of ours as ALLAUTH_TRUSTED_PROXY_COUNT says: the browser
    writes the entries before theirs.
    """
    proxies: int = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    said = request.META.get("REMOTE_ADDR", "")
    if proxies:
        hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
        said = hops[-proxies].strip() if len(hops) >= proxies else ""
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return ""
