"""Images and the defaults of new machines."""

from __future__ import annotations

import pytest

from audit.models import Entry
from machines.models import Image, SiteDefaults

URL = "/machines/images/"
ADD = "/machines/images/add/"
DEFAULTS = "/machines/defaults/"
DEBIAN = {
    "name": "debian-12",
    "archive": "debian-12.tar.gz",
    "digest": "B" * 64,
    "family": "debian",
    "min_root_mib": "512",
}


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


def test_it_lists_the_images_and_says_which_is_the_default(operator, web_dom):
    text = operator.get(URL).content.decode()
    for said in ("tiny", "tiny.tar.gz", "aaaaaaaaaaaa", "default", "32 MB"):
        assert said in text


def test_without_a_host_it_says_what_is_missing(operator, db):
    assert "No host has reported yet." in operator.get(URL).content.decode()


def test_an_image_is_added_and_logged(operator, host):
    answer = operator.post(ADD, DEBIAN, follow=True)
    assert "debian-12 is known now" in answer.content.decode()
    assert Image.objects.get().digest == "b" * 64
    assert Entry.objects.filter(action="image.add").count() == 1


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("name", "<b>x</b>", "Use 1 to 31 letters"),
        ("name", "tiny", "There is an image tiny already."),
        ("archive", "../../etc/shadow", ""),
        ("archive", "/etc/shadow", ""),
        ("digest", "abc", "64 hexadecimal digits"),
        ("family", "windows", ""),
        ("min_root_mib", "1", "16"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(operator, image, field, typed, said):
    answer = operator.post(ADD, {**DEBIAN, field: typed})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_err"' in text
    assert said in text
    assert "<b>x</b>" not in text
    assert Image.objects.count() == 1


def test_the_defaults_are_changed_and_logged(operator, image):
    answer = operator.post(DEFAULTS, {"image": image.pk, "memory_mib": 96, "root_mib": 200, "vcpus": 2}, follow=True)
    assert "New machines get this from now on." in answer.content.decode()
    defaults = SiteDefaults.objects.get()
    assert (defaults.memory_mib, defaults.root_mib, defaults.vcpus) == (96, 200, 2)
    assert Entry.objects.filter(action="defaults.change").count() == 1


def test_a_default_root_too_small_for_the_image_is_refused(operator, image):
    answer = operator.post(DEFAULTS, {"image": image.pk, "memory_mib": 96, "root_mib": 20, "vcpus": 1})
    assert answer.status_code == 422
    assert "needs a root of at least 32 MB" in answer.content.decode()
    assert SiteDefaults.objects.get().root_mib == 128


@pytest.mark.parametrize("url", [ADD, DEFAULTS])
def test_it_rejects_get(operator, url):
    assert operator.get(url).status_code == 405


@pytest.mark.parametrize("who", ["dominig", "agnes"])
def test_it_is_for_operators(client, request, who, image):
    client.force_login(request.getfixturevalue(who))
    assert client.get(URL).status_code == 404
    assert client.post(ADD, DEBIAN).status_code == 404
    assert client.post(DEFAULTS, {}).status_code == 404
