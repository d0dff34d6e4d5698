"""The pages a machine has, and who sees which: one table, drawn above each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from accounts.access import may
from accounts.models import User
from machines.scenes import Scene


@dataclass(frozen=True, kw_only=True)
class Tab:
    """One page: its name in `machines.urls`, what it is called, the action that opens it."""

    page: str
    label: str
    action: str


TABS = (
    Tab(page="detail", label="Overview", action="machine.view"),
    Tab(page="figures", label="Figures", action="machine.view"),
    Tab(page="snapshots", label="Snapshots", action="snapshot.view"),
    Tab(page="reinstall", label="Reinstall", action="machine.reinstall"),
    Tab(page="settings", label="Settings", action="machine.change"),
    Tab(page="limits", label="Limits", action="machine.view"),
    Tab(page="drift", label="Differences", action="machine.drift"),
    Tab(page="stages", label="Stages", action="machine.stages"),
    Tab(page="doctor", label="Diagnose", action="machine.doctor"),
    Tab(page="rescue", label="Rescue", action="machine.rescue"),
)


def framed(user: User, scene: Scene, page: str) -> dict[str, Any]:
    """What `machines/frame.html` needs around one of a machine's pages."""
    seen = [tab for tab in TABS if may(user, tab.action, verbs=scene.verbs)]
    tabs = [(reverse(f"machines:{t.page}", args=(scene.machine.pk,)), t.label, t.page == page) for t in seen]
    return {
        "scene": scene,
        "machine": scene.machine,
        "back": "machines:list" if user.is_operator else "machines:mine",
        "tabs": tabs if len(tabs) > 1 else [],
        "page_label": next(tab.label for tab in TABS if tab.page == page),
    }
