"""Under Xen: grub inside a machine starts the kernel of its root, and its console is used in a browser.

The panel runs in the same dom0 as docs/install.md has it, behind nginx; Chromium comes from outside, through a port of
dom0 that is published for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.lab import reach
from tests.lab.dom0 import Dom0
from tests.lab.manual import commands
from tests.lab.places import INSIDE
from tests.life.story import ADDRESS, OPERATOR, PUBLISHED, Story

pytestmark = pytest.mark.lab
MACHINE, IMAGE, NAME = "Menu", "grubbed", "panel.example.org"
#: A word that only grub's own menu gives to the kernel.
MENU = """\
set timeout=0
menuentry own {
    linux /boot/vmlinuz-6.1-own root=/dev/xvda ro console=hvc0 lab.menu=grub
    initrd /boot/initrd.img-6.1-own
}
"""
#: An image whose root has what grub needs: a kernel, its initrd, the menu. The lab's kernels are not packed.
WITH_GRUB = f"""
set -e; cd $(mktemp -d /var/tmp/image.XXXX) && mkdir -p boot/grub; kernels=/var/lib/fridu/kernels
cp $kernels/guest-vmlinux boot/vmlinuz-6.1-own; cp $kernels/guest-initrd boot/initrd.img-6.1-own
cat > boot/grub/grub.cfg <<'END'
{MENU}END
zcat /var/lib/fridu/images/tiny-*.tar.gz > all.tar && tar -rf all.tar ./boot && gzip -1 all.tar
mv all.tar.gz /var/lib/fridu/imports/{IMAGE}.tar.gz
"""
#: dom0's own port 443, from outside: a panel at work is reached from the admin VPN alone.
OPEN = "CreateApp NAME=Panel ZONE=none EXT=tcp:443 INT=eth0\n"
PASSWORD, ROOTS = "chosen-for-this-test", "roots-for-this-test"
LETS_IN = f"""
from accounts.models import User
user = User.objects.get(username={OPERATOR!r})
user.set_password({PASSWORD!r})
user.password_is_once = False
user.save()
"""
CHROMIUM = "/usr/bin/chromium"
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
#: Whether it said something else meanwhile, however shortly.
BREAKS = """
const says = document.getElementById("console-says");
new MutationObserver(() => { window.broke ||= says.textContent !== "You type here."; })
    .observe(says, {childList: true, characterData: true, subtree: true});
"""
#: Emulated, a page takes seconds and a service half a minute until it answers.
PATIENCE_S = 240


def test_a_machine_that_its_own_grub_starts_is_used_in_the_browser(dom0: Dom0, playwright: Playwright) -> None:
    story = Story(stage=dom0, machine=MACHINE)
    story.settle()
    empty = story.traces()
    it_starts_by_its_own_grub(dom0, story)

    the_panel_serves(dom0)
    for page in looking_in(playwright, dom0):
        one_types_at_its_console(page, story)
        it_comes_back_after_its_line_broke(page, dom0)
        it_comes_back_after_its_console_process_died(page, dom0)
        it_shows_what_was_there_to_who_comes_anew(page)

    story.delete()
    dom0.fridu("image", "delete", IMAGE)
    story.nothing_is_left(empty)


def it_starts_by_its_own_grub(dom0: Dom0, story: Story) -> None:
    reach.run(dom0.host, WITH_GRUB, timeout_s=600)
    story.until(lambda: f"{IMAGE}.tar.gz" in dom0.fridu("image"), "the host has told of the archive")
    dom0.fridu("image", "add", IMAGE, f"file={IMAGE}.tar.gz")
    story.zone()
    story.wish(PUBLISHED + OPEN)
    dom0.fridu("firewall", "apply", "--confirm-within", "600", "--reason", "the console")
    dom0.fridu("firewall", "confirm")
    began = time.monotonic()
    dom0.fridu("create", f"vmname={MACHINE}", f"vmip={ADDRESS}", f"image={IMAGE}", "boot=grub", "vmroot=256")
    story.answers()
    print(f"create with boot=grub to SSH: {time.monotonic() - began:.1f} s", flush=True)
    assert story.inside("hostname") == MACHINE
    assert "lab.menu=grub" in story.inside("cat /proc/cmdline").split()
    defined = dom0.run(f"virsh dumpxml {MACHINE}")
    assert "<kernel>/usr/lib/grub-xen/grub-x86_64-xen.bin</kernel>" in defined
    assert "<initrd>" not in defined


def the_panel_serves(dom0: Dom0) -> None:
    """Section 5 of docs/install.md as typed, with this host's address in nginx's file."""
    dom0.manage(LETS_IN)
    run = dom0.host
    here = f"cd {INSIDE} && sed -i 's/10.10.95.38:443/{dom0.external}:443/' deploy/nginx/fridu.conf"
    for line in ("systemctl enable -q --now fridu-panel fridu-console", here, *commands(5)):
        reach.run(run, f"cd {INSIDE}; {line}", timeout_s=600)
    ask = f"curl -skL --resolve {NAME}:443:{dom0.external} https://{NAME}/ -o /dev/null -w '%{{http_code}}'"
    reach.until(run, ask, patience_s=300, said="200")
    reach.until(
        run, "redis-cli -s /run/fridu/redis/redis.sock client list | grep -c cmd=xread", patience_s=300, said="1"
    )


def looking_in(playwright: Playwright, dom0: Dom0) -> Iterator[Page]:
    """Chromium at the machine's console, signed in; nothing went wrong in it but what the line's breaks bring."""
    port = dom0.host.ports["web"]
    there = f"--host-resolver-rules=MAP {NAME}:443 127.0.0.1:{port}"
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, there])
    troubles: list[str] = []
    try:
        context = browser.new_context(
            base_url=f"https://{NAME}", ignore_https_errors=True, viewport={"width": 1360, "height": 900}
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        began = time.monotonic()
        page.goto("/")
        page.fill("input[name=login]", OPERATOR)
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        expect(page.locator(".who")).to_contain_text(OPERATOR, timeout=PATIENCE_S * 1000)
        print(f"signed in: {time.monotonic() - began:.1f} s", flush=True)
        yield page
    finally:
        browser.close()
    assert [said for said in troubles if "WebSocket" not in said and "Failed to load" not in said] == []


def one_types_at_its_console(page: Page, story: Story) -> None:
    packed = story.stage.run(f"openssl passwd -6 {ROOTS}").strip()
    story.inside(f"sed -i 's|^root:[^:]*|root:{packed}|' /etc/shadow")
    page.goto("/machines/")
    page.get_by_role("link", name=MACHINE).first.click()
    began = time.monotonic()
    page.get_by_role("link", name="Open its console").click()
    says(page, "You type here.")
    page.keyboard.press("Enter")
    shows(page, f"{MACHINE} login:")
    print(f"from its page to its login prompt: {time.monotonic() - began:.1f} s", flush=True)
    page.keyboard.type("root\n")
    shows(page, "Password:")
    page.keyboard.type(f"{ROOTS}\n")
    shows(page, "# ")
    began = time.monotonic()
    page.keyboard.type("echo $((6 * 7))-is-it\n")
    shows(page, "42-is-it")
    print(f"a command typed to its answer: {time.monotonic() - began:.1f} s", flush=True)
    page.set_viewport_size({"width": 800, "height": 700})
    page.get_by_role("button", name="Set size").click()
    rows, cols = shows(page, r"stty rows (\d+) cols (\d+)").groups()
    assert int(cols) < 100
    page.keyboard.type("stty size\n")
    shows(page, rf"(?m)^{rows} {cols}\s*$")


def it_comes_back_after_its_line_broke(page: Page, dom0: Dom0) -> None:
    """Where it broke, with what was shown. (A panel that starts again here takes longer than a console waits.)"""
    began = time.monotonic()
    page.evaluate(BREAKS)
    reach.run(dom0.host, "systemctl restart nginx", timeout_s=PATIENCE_S)
    page.wait_for_function("window.broke")
    says(page, "You type here.")
    print(f"back after its line broke: {time.monotonic() - began:.1f} s", flush=True)
    page.keyboard.type("echo $((5 * 5))-again\n")
    shows(page, "25-again")
    assert "42-is-it" in text(page)


def it_comes_back_after_its_console_process_died(page: Page, dom0: Dom0) -> None:
    """With another run of the console: what was printed before is gone, the shell inside is the same."""
    began = time.monotonic()
    dom0.run("systemctl kill -s KILL fridu-console")
    shows(page, "The console was opened anew")
    says(page, "You type here.")
    print(f"back after the console's process was killed: {time.monotonic() - began:.1f} s", flush=True)
    page.keyboard.type("echo $((7 * 7))-anew\n")
    shows(page, "49-anew")


def it_shows_what_was_there_to_who_comes_anew(page: Page) -> None:
    page.reload()
    says(page, "You type here.")
    shows(page, "49-anew")
    page.keyboard.type("exit\n")
    shows(page, f"{MACHINE} login:")


def text(page: Page) -> str:
    """What the terminal shows."""
    return str(page.locator(".xterm-rows").inner_text())


def says(page: Page, words: str) -> None:
    expect(page.locator("#console-says")).to_have_text(words, timeout=PATIENCE_S * 1000)


def shows(page: Page, what: str) -> re.Match[str]:
    """Wait until the terminal shows that."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := re.search(what, text(page))):
        assert time.monotonic() < deadline, f"{what} was not shown: {text(page)}"
        page.wait_for_timeout(100)
    return found
