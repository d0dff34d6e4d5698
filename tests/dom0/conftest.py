"""A host on paper, for trials: no rule is loaded and no process started."""

from __future__ import annotations

from pathlib import Path

import pytest

from dom0 import closed, files, flows, loading, trial
from dom0.host import HostConfig, Nic
from tests.dom0.on_paper import ONE, TWO, arm


@pytest.fixture
def config(tmp_path: Path) -> HostConfig:
    return HostConfig(
        name="ns3100421",
        libvirt="test:///default",
        volumes=str(tmp_path),
        state=str(tmp_path / "state"),
        run=str(tmp_path / "run"),
        nics=(Nic(name="eth0", addresses=("91.121.65.140",)),),
        vpn_interface="tun0",
        vpn_network="10.10.95.0/24",
    )


@pytest.fixture
def loaded(config: HostConfig, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the revisions that were loaded, in place of loading them."""
    names: list[str] = []

    def restore(config: HostConfig, name: str, digest: str, say: object) -> bool:
        loading.revision(config, name, digest)
        names.append(name)
        return True

    monkeypatch.setattr(loading, "restore", restore)
    monkeypatch.setattr(flows, "forget_own", lambda: 0)
    monkeypatch.setattr(flows, "forget", lambda lines: (0, 0))
    for name in (ONE, TWO):
        for file, text in closed.files(config).items():
            files.write_atomic(str(loading.folder(config, name) / file), text + f"# {name}\n")
    return names


@pytest.fixture
def armed(config: HostConfig, loaded: list[str]) -> trial.Pending:
    """Revision TWO on trial for a minute, seen by a guard."""
    return arm(config)
