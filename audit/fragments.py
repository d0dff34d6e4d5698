"""The history of one thing, for whatever page speaks of it: `{% fragments "history" thing %}`."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.template.loader import render_to_string

from audit import show
from audit.models import Entry

LIMIT = 10


def history(request: HttpRequest, thing: Any) -> str:
    """The newest deeds on a row, by the kind its services write: its class's name in small letters.

    The page has checked that its viewer may see the row; the link to the whole log is for those who may read it.
    """
    if not isinstance(thing, Model):
        return ""
    kind = str(thing._meta.model_name)
    entries = Entry.objects.filter(object_kind=kind, object_id=str(thing.pk)).order_by("-seq")[:LIMIT]
    context = {"lines": show.lines(entries), "kind": kind, "id": thing.pk, "user": request.user}
    return render_to_string("audit/_history.html", context, request=request)
