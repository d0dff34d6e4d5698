"""Makes an image: Debian's packages by mmdebstrap, our libraries, a kernel, into one ext4 file."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.lab import recipe, sources
from tests.lab.places import KEY, LAB, PROJECT, Problem, built
from tests.lab.recipe import Image

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
#: mmdebstrap mounts proc and sys into the tree. Here they go with it, however it ends, and nobody else sees them.
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
#: The last hook, while apt works for the tree: a kernel's package stands behind the name of another.
FETCH = """cd '{folder}' && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && for name in {names}; do
real=$(apt-cache depends "$name" | sed -n 's/^ *Depends: \\(linux-image-.*\\)/\\1/p' | head -n 1)
apt-get -qq -o APT::Sandbox::User=root download "${{real:-$name}}" && mv "${{real:-$name}}"_*.deb "$name.deb" || exit 1
done"""
UNREAD = ("doc", "man", "locale", "info")


def ensure(name: str) -> str:
    """Have the image `name`, made now where there is none that fits; its digest. Raises Problem."""
    wanted = recipe.image(name)
    digest = recipe.image_digest(wanted, _key())
    stamp = built(name) / "digest"
    if stamp.exists() and stamp.read_text() == digest:
        return digest
    began = time.monotonic()
    print(f"Making the image {name} of Debian packages ({wanted.suite}); some minutes, once …", flush=True)
    shutil.rmtree(built(name), ignore_errors=True)
    built(name).mkdir(parents=True)
    _make(wanted, built(name))
    stamp.write_text(digest)
    print(f"The image {name} is made: {time.monotonic() - began:.0f} s.", flush=True)
    return digest


def _key() -> str:
    """The public key that is let in; made with its private half where there is none."""
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(KEY))
    return KEY.with_suffix(".pub").read_text()


def _make(wanted: Image, out: Path) -> None:
    """A copy of the bare tree, furnished, as one ext4 file."""
    tree = _tree(wanted)
    root, wheels = out / "root", out / "wheels"
    _wheels(wanted, wheels)
    _run("cp", "-a", "--reflink=auto", str(tree / "root"), str(root))
    furnish = ("/usr/bin/python3", "-B", "-m", "tests.lab.furnish", str(root), wanted.name, str(out))
    _run(*OWN_MOUNTS, *furnish, str(tree / "packages"), str(wheels), log=out / "furnish.log")
    _run("truncate", "-s", f"{wanted.size_gib}G", str(out / "root.ext4"))
    _run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0", "-d", str(root), str(out / "root.ext4"))
    shutil.rmtree(root)
    shutil.rmtree(wheels)


def _tree(wanted: Image) -> Path:
    """Debian's packages unpacked and configured, and beside them those to take apart; kept, for it takes longest."""
    tree = LAB / "trees" / wanted.name
    digest = recipe.digest(wanted.suite, wanted.packages, recipe.APART[wanted.xen], sources.lines(wanted.suite))
    stamp = tree / "digest"
    if stamp.exists() and stamp.read_text() == digest:
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "packages").mkdir(parents=True)
    (tree / "sources.list").write_text("".join(f"{line}\n" for line in sources.lines(wanted.suite)))
    _run(
        *OWN_MOUNTS,
        *("mmdebstrap", "--variant=minbase", "--mode=root", f"--include={','.join(wanted.packages)}"),
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNREAD),
        f"--customize-hook={FETCH.format(folder=tree / 'packages', names=' '.join(recipe.APART[wanted.xen]))}",
        *(wanted.suite, str(tree / "root"), str(tree / "sources.list")),
        log=tree / "build.log",
    )
    stamp.write_text(digest)
    return tree


def _wheels(wanted: Image, folder: Path) -> None:
    """Our libraries, checked by their digests, for the Python of that Debian, from the box's own configured index."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = (str(PROJECT / ".venv/bin/python"), "-m", "pip", "download", "--quiet", "--no-deps", "--no-input")
    which = ("--python-version", PYTHONS[wanted.suite], "--dest", str(folder))
    for pinned in ("requirements.txt", "deploy/assets.txt"):
        _run(*pip, *which, "--require-hashes", "--requirement", str(PROJECT / pinned))
    # what builds the one library that comes as source, libvirt's binding
    _run(*pip, *which, "--only-binary=:all:", "setuptools", "wheel")


def _run(*argv: str, log: Path | None = None) -> None:
    """Raises Problem with the last lines a command said."""
    LAB.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(LAB)},
    )
    if log:
        log.write_text(done.stdout)
    if done.returncode != 0:
        said = " ".join(line.strip() for line in done.stdout.strip().splitlines()[-6:])
        raise Problem(f"{Path(argv[0]).name} failed: {said}{f' All it said is in {log}.' if log else ''}")
