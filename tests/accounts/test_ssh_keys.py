"""Public keys as people paste them. Key pairs are made here, so nothing depends on what a file says of itself."""

from __future__ import annotations

import base64
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.core.exceptions import ValidationError

from accounts.keys import KeyRefused, parse
from accounts.models import SSHKey
from accounts.services import MAX_KEYS, key_add, key_remove
from audit.log import Actor
from audit.models import Entry
from dom0.errors import Refused


def line_of(private) -> str:
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.fixture(scope="module")
def rsa_2048():
    return line_of(rsa.generate_private_key(65537, 2048))


ED = line_of(ed25519.Ed25519PrivateKey.generate())


def sk(kind: str, *fields: bytes) -> str:
    blob = b"".join(len(f).to_bytes(4, "big") + f for f in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    "line",
    [
        ED,
        *(line_of(ec.generate_private_key(curve)) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())),
        sk("sk-ssh-ed25519@openssh.com", b"k" * 32, b"ssh:"),
        sk("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"\4" + b"k" * 64, b"ssh:"),
    ],
    ids=lambda line: line.split()[0],
)
def test_it_takes_every_type_a_machine_takes(line):
    parsed = parse(f"  {line}  fulup@laptop one \n")
    assert parsed.line == line
    assert parsed.comment == "fulup@laptop one"


def test_it_takes_rsa_of_2048_bits(rsa_2048):
    assert parse(rsa_2048).line == rsa_2048


def test_the_fingerprint_is_the_one_ssh_keygen_says(tmp_path, rsa_2048):
    for line in (ED, rsa_2048):
        (tmp_path / "key.pub").write_text(line + "\n")
        said = subprocess.run(
            ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True
        ).stdout
        assert parse(line).fingerprint == said.split()[1]


def private_text() -> str:
    made = ed25519.Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


REFUSED = {
    "": "Paste a public key",
    "hello": "not a public SSH key",
    private_text(): "private key: it must never leave",
    "PuTTY-User-Key-File-3: ssh-ed25519": "private key",
    "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----": "PuTTY's format",
    line_of(dsa.generate_private_key(1024)): "DSA keys are broken",
    line_of(rsa.generate_private_key(65537, 1024)): "1024 bits, too few",
    f'command="rm -rf /" {ED}': "Leave out the options",
    f"no-pty {ED}": "Leave out the options",
    f'environment="LD_PRELOAD=/tmp/x" {ED}': "Leave out the options",
    f"{ED}\n{ED}": "one key, on one line",
    f"{ED}\r{ED}": "one key, on one line",
    f"{ED} a\x00b": "not a whole key",
    f"{ED} \x1b[31m": "not a whole key",
    ED[:-8]: "not a whole key",
    ED + "AAAA": "not a whole key",
    ED.replace(" ", " !", 1): "not a whole key",
    "ssh-rsa " + ED.split()[1]: "not a whole key",
    "ssh-ed25519 é": "not a whole key",
    "ssh-ed25519": "not a whole key",
    sk("ssh-ed25519", b"k" * 31): "not a whole key",
    sk("ssh-ed25519", b"k" * 32, b"more"): "not a whole key",
    sk("ecdsa-sha2-nistp256", b"nistp384", b"\4" + b"k" * 96): "not a whole key",
    sk("ecdsa-sha2-nistp256", b"nistp256", b"\2" + b"k" * 64): "not a whole key",
    sk("sk-ssh-ed25519@openssh.com", b"k" * 32, b"https:"): "not a whole key",
    sk("ssh-rsa", b"\1\0\1", b"\x80" + b"\1" * 255): "not a whole key",
    "ssh-ed25519 " + "A" * 9000: "not a whole key",
}


@pytest.mark.parametrize(("text", "because"), REFUSED.items(), ids=[str(n) for n in range(len(REFUSED))])
def test_it_refuses_everything_else_with_a_sentence(text, because):
    with pytest.raises(KeyRefused, match=because):
        parse(text)


# --- kept ------------------------------------------------------------------------------------------------------------


def test_a_kept_key_stands_in_the_log_by_its_fingerprint(dominig):
    key = key_add(Actor(id=dominig.pk, name="dominig"), dominig, name="", line=f"{ED} me@laptop")
    assert key.name == "me@laptop"
    entry = Entry.objects.get(action="account.key_add")
    assert entry.data == {"name": "me@laptop", "fingerprint": key.fingerprint}


def test_the_same_key_or_name_twice_is_refused_beside_the_field(dominig, rsa_2048):
    actor = Actor(id=dominig.pk, name="dominig")
    key_add(actor, dominig, name="laptop", line=ED)
    with pytest.raises(ValidationError) as error:
        key_add(actor, dominig, name="other", line=ED)
    assert "already, as laptop" in error.value.message_dict["line"][0]
    with pytest.raises(ValidationError) as error:
        key_add(actor, dominig, name="laptop", line=rsa_2048)
    assert "laptop-2" in error.value.message_dict["name"][0]


def test_there_is_a_most(dominig, monkeypatch, rsa_2048):
    monkeypatch.setattr("accounts.services.MAX_KEYS", 1)
    assert MAX_KEYS == 20
    actor = Actor(id=dominig.pk, name="dominig")
    key_add(actor, dominig, name="a", line=ED)
    with pytest.raises(ValidationError, match="the most one person has"):
        key_add(actor, dominig, name="b", line=rsa_2048)


def test_a_key_a_machine_has_is_not_removed(dominig, web_dom):
    actor = Actor(id=dominig.pk, name="dominig")
    key = key_add(actor, dominig, name="laptop", line=ED)
    web_dom.ssh_keys.add(key)
    with pytest.raises(Refused, match="still opens WEB-Dom"):
        key_remove(actor, key)
    web_dom.ssh_keys.clear()
    key_remove(actor, key)
    assert not SSHKey.objects.exists()


def test_the_page_adds_and_removes(client, dominig):
    client.force_login(dominig)
    answer = client.post("/account/keys/add/", {"line": f"{ED} laptop", "name": ""}, follow=True)
    assert "laptop" in answer.content.decode()
    key = dominig.ssh_keys.get()
    assert key.fingerprint in answer.content.decode()
    client.post(f"/account/keys/{key.pk}/remove/")
    assert not dominig.ssh_keys.exists()


def test_the_page_says_what_is_wrong_beside_the_field_and_keeps_what_was_typed(client, dominig):
    client.force_login(dominig)
    answer = client.post("/account/keys/add/", {"line": "ssh-rsa <b>", "name": "mine"})
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "not a whole key" in html
    assert 'aria-invalid="true"' in html
    assert 'value="mine"' in html
    assert "ssh-rsa &lt;b&gt;" in html


def test_nobody_removes_anothers_key(client, dominig, fulup):
    key = key_add(Actor(id=dominig.pk, name="dominig"), dominig, name="a", line=ED)
    client.force_login(fulup)
    assert client.post(f"/account/keys/{key.pk}/remove/").status_code == 404
    assert dominig.ssh_keys.exists()
