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
    """One page: its name in `machines.urls`, what it is called, the action that opens it.

    `title` is its heading, before the machine's name. A page `under` another stands in a second row, below that one's
    tab, which is then called `both`; a `quiet` one is reached from the overview instead where that other is not open.
    """

    page: str
    label: str
    action: str
    title: str
    under: str = ""
    both: str = ""
    quiet: bool = False


TABS = (
    Tab(page="detail", label="Overview", action="machine.view", title=""),
    Tab(page="figures", label="Figures", action="machine.view", title="Figures of", under="detail", quiet=True),
    Tab(page="settings", label="Settings", action="machine.change", title="Settings of", both="Settings and limits"),
    Tab(page="limits", label="Limits", action="machine.view", title="Limits of", under="settings", quiet=True),
    Tab(page="snapshots", label="Snapshots", action="snapshot.view", title="Snapshots of"),
    Tab(page="reinstall", label="Reinstall", action="machine.reinstall", title="Reinstall"),
    Tab(page="stages", label="Single stages", action="machine.stages", title="Stages of", under="reinstall"),
    Tab(page="doctor", label="Diagnose", action="machine.doctor", title="Diagnose", both="Diagnose and rescue"),
    Tab(page="rescue", label="Rescue", action="machine.rescue", title="Rescue", under="doctor"),
    Tab(page="drift", label="Differences", action="machine.drift", title="Differences of", under="doctor"),
)


def framed(user: User, scene: Scene, page: str) -> dict[str, Any]:
    """What `machines/frame.html` needs around one of a machine's pages."""
    seen = [tab for tab in TABS if may(user, tab.action, verbs=scene.verbs)]
    here = next(tab for tab in TABS if tab.page == page)
    rooms: dict[str, list[Tab]] = {}
    for tab in seen:
        rooms.setdefault(tab.under or tab.page, []).append(tab)
    rooms = {name: room for name, room in rooms.items() if not room[0].quiet}
    standing = here.under or page
    standing = standing if standing in rooms else "detail"

    def way(tab: Tab) -> str:
        return reverse(f"machines:{tab.page}", args=(scene.machine.pk,))

    tabs = [
        (way(room[0]), (len(room) > 1 and room[0].both) or room[0].label, name == standing)
        for name, room in rooms.items()
    ]
    beside = rooms.get(standing, []) if standing != "detail" else []
    return {
        "scene": scene,
        "machine": scene.machine,
        "back": "machines:list" if user.is_operator else "machines:mine",
        "tabs": tabs if len(tabs) > 1 else [],
        "beside": [(way(tab), tab.label, tab.page == page) for tab in beside] if len(beside) > 1 else [],
        "page_label": here.label,
        "page_title": f"{here.title} {scene.machine.name}".strip(),
    }
