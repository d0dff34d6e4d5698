"""Images on the page: made of a file of the imports folder or built, a kernel taken out of one, deleted."""

from __future__ import annotations

import pytest

from audit.models import Entry
from hosts.models import Job
from machines.models import Image, SiteDefaults

URL = "/machines/images/"
IMPORT, BUILD = f"{URL}import/", f"{URL}build/"


@pytest.fixture
def operator(client, fulup):
    client.force_login(fulup)
    return client


@pytest.fixture
def offering(host):
    host.figures = {
        "imports": [{"name": "debian-13.tar.zst", "size": 90 << 20}],
        "kernels": [{"name": "vmlinuz-6.1", "initrd": "initrd.img-6.1", "size_bytes": 8, "initrd_bytes": 4}],
    }
    host.save()
    return host


def test_the_files_of_the_imports_folder_and_the_kernels_are_listed(operator, offering):
    text = operator.get(URL).content.decode()
    for said in ("debian-13.tar.zst, 90 MB", "vmlinuz-6.1", "with initrd.img-6.1"):
        assert said in text


def test_without_a_file_it_says_where_to_put_one(operator, host):
    assert "The imports folder of ns3100421 holds no archive." in operator.get(URL).content.decode()


def test_an_image_is_made_of_a_file_by_a_job(operator, offering):
    data = {"import-name": "debian-13", "import-file": "debian-13.tar.zst"}
    answer = operator.post(IMPORT, data)
    job, image = Job.objects.get(), Image.objects.get()
    assert answer.url == f"/jobs/{job.pk}/"
    assert (job.kind, job.args, job.target_id) == ("image.make", {"file": "debian-13.tar.zst"}, image.pk)
    assert (image.archive, image.digest, image.devices) == (f"debian-13-{image.pk}.tar.zst", "", False)
    assert Entry.objects.filter(action="image.make").count() == 1
    assert "not made yet" in operator.get(URL).content.decode()


def test_an_image_is_built_by_a_job(operator, host):
    operator.post(BUILD, {"build-name": "trixie", "build-suite": "trixie"})
    assert Job.objects.get().args == {"suite": "trixie"}


@pytest.mark.parametrize(
    ("url", "data", "field"),
    [
        (IMPORT, {"import-name": "x", "import-file": "../../etc/shadow"}, "import-file"),
        (IMPORT, {"import-name": "x"}, "import-file"),
        (IMPORT, {"import-name": "tiny", "import-file": "debian-13.tar.zst"}, "import-name"),
        (IMPORT, {"import-name": "a b", "import-file": "debian-13.tar.zst"}, "import-name"),
        (BUILD, {"build-name": "x", "build-suite": "sid; rm"}, "build-suite"),
        (BUILD, {"build-name": "tiny", "build-suite": "trixie"}, "build-name"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(operator, offering, image, url, data, field):
    answer = operator.post(url, data)
    assert answer.status_code == 422
    assert f'id="id_{field}_err"' in answer.content.decode()
    assert (Job.objects.count(), Image.objects.count()) == (0, 1)


def test_an_image_in_use_is_not_deleted_and_what_needs_it_is_named(operator, web_dom):
    answer = operator.post(f"{URL}{web_dom.image_id}/delete/")
    assert answer.status_code == 409
    assert "tiny is still needed by machine WEB-Dom, the defaults of new machines." in answer.content.decode()
    assert not Job.objects.exists()


def test_an_image_nobody_needs_is_deleted_by_a_job(operator, image):
    SiteDefaults.objects.update(image=None)
    operator.post(f"{URL}{image.pk}/delete/")
    assert Job.objects.get().kind == "image.delete"
    assert Image.objects.exists()  # until the job has removed its files


def test_a_kernel_of_the_image_is_taken_out_by_a_job(operator, image):
    image.facts = {"kernels": ["vmlinuz-6.1"]}
    image.save()
    assert "vmlinuz-6.1" in operator.get(URL).content.decode()
    operator.post(f"{URL}{image.pk}/kernel/", {"kernel": "vmlinuz-6.1"})
    assert Job.objects.get().args == {"kernel": "vmlinuz-6.1"}


@pytest.mark.parametrize("kernel", ["vmlinuz-9", "../../etc/shadow", ""])
def test_a_kernel_the_image_has_not_is_refused(operator, image, kernel: str):
    answer = operator.post(f"{URL}{image.pk}/kernel/", {"kernel": kernel})
    assert answer.status_code == 409
    assert "It has none." in answer.content.decode()


def test_no_machine_is_made_of_an_image_that_is_not_made(zones, image, dominig):
    from machines import size_checks
    from machines.models import Machine

    image.digest = ""
    machine = Machine(
        host=image.host, zone=zones["zDominig"], name="New", address="10.10.2.9", memory_mib=64, root_mib=64
    )
    machine.image = image
    assert size_checks.image(machine) == "tiny is not made yet. Wait for its job, or choose another image."


@pytest.mark.parametrize("who", ["dominig", "agnes"])
def test_it_is_for_operators(client, request, who, image):
    client.force_login(request.getfixturevalue(who))
    for url in (IMPORT, BUILD, f"{URL}{image.pk}/delete/", f"{URL}{image.pk}/kernel/"):
        assert client.post(url, {}).status_code == 404
    assert not Job.objects.exists()
