"""The frame every page stands in: navigation by role, search, help, pages for what went wrong; tags and registries."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django import forms
from django.core.paginator import Paginator
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.utils import timezone

from dom0.errors import Refused
from ui import htmx, registry, words
from ui.registry import Attention, Found


def nav(page: str) -> list[str]:
    inside = page.split('aria-label="Main"')[1].split("</nav>")[0]
    return [re.sub(r"<[^>]+>.*", "", label) for label in re.findall(r"<a [^>]*>(.*?)</a>", inside)]


def shown(text: str, **context) -> str:
    return Template("{% load ui %}" + text).render(Context(context))


def test_the_navigation_has_only_doors_that_open(client, fulup, dominig, agnes, host):
    seen = {}
    for user in (fulup, dominig, agnes):
        client.force_login(user)
        page = client.get("/help/").content.decode()
        seen[user.username] = nav(page)
        inside = page.split('aria-label="Main"')[1].split("</nav>")[0]
        for url in re.findall(r'href="([^"]+)"', inside):
            assert client.get(url).status_code == 200, url
    assert seen["dominig"] == ["My machines", "Jobs"]
    assert seen["agnes"] == ["Audit", "Every record"]
    assert seen["fulup"][:3] == ["Overview", "Machines", "Zones"]
    assert seen["fulup"][-3:] == ["Hosts", "People", "Audit"]


def test_the_page_one_is_on_is_marked(client, fulup, host):
    client.force_login(fulup)
    for path, label in (("/", "Overview"), ("/jobs/?state=open", "Jobs"), ("/hosts/", "Hosts")):
        marked = re.findall(r'aria-current="page">(\w+)', client.get(path).content.decode())
        assert marked == [label]


@pytest.mark.parametrize("path", ["/", "/help/", "/search/", "/jobs/", "/hosts/"])
def test_the_content_security_policy_is_strict(client, fulup, host, path):
    client.force_login(fulup)
    response = client.get(path)
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = response.content.decode()
    assert " style=" not in page
    assert "<style" not in page
    assert not re.findall(r" on[a-z]+=", page)
    assert "&quot;allowEval&quot;:false" in page or '"allowEval":false' in page


@pytest.mark.parametrize("name", ["ui/fridu.css", "ui/ui.js", "ui/icon.svg", "django_htmx/htmx-2.min.js"])
def test_every_static_file_a_page_names_is_there(client, name):
    from django.contrib.staticfiles import finders

    assert finders.find(name)


def test_a_page_names_no_other_server(client, fulup, host):
    client.force_login(fulup)
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', client.get("/").content.decode())


def test_an_owner_on_a_machines_page_is_in_my_machines(client, dominig, web_dom):
    client.force_login(dominig)
    page = client.get(f"/machines/{web_dom.pk}/").content.decode()
    assert re.findall(r'aria-current="page">([\w ]+)', page.partition("<main")[0]) == ["My machines"]


def test_search_leads_straight_to_a_single_hit(client, dominig, web_dom):
    client.force_login(dominig)
    assert client.get("/search/?q=10.10.2.2").url == f"/machines/{web_dom.pk}/"


def test_search_finds_nothing_of_others(client, brendan, web_dom):
    client.force_login(brendan)
    page = client.get("/search/?q=WEB").content.decode()
    assert "Nothing matches “WEB”" in page


def test_search_shows_hostile_words_as_words(client, fulup):
    client.force_login(fulup)
    page = client.get("/search/", {"q": '"><script>alert(1)</script>'}).content.decode()
    assert "<script>alert" not in page
    assert client.get("/search/", {"q": "x" * 5000}).status_code == 200


def test_help_speaks_to_the_role(client, fulup, dominig, agnes):
    for user, said in ((fulup, "Publishing"), (dominig, "Getting in"), (agnes, "The log")):
        client.force_login(user)
        assert said in client.get("/help/").content.decode()


def test_a_page_that_is_not_there_and_one_of_somebody_else_look_the_same(client, brendan, web_dom):
    client.force_login(brendan)
    missing, others = client.get("/machines/99999/"), client.get(f"/machines/{web_dom.pk}/")
    assert (missing.status_code, others.status_code) == (404, 404)

    def plain(response):
        text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", response.content.decode())
        return re.sub(r"<time .*?</time>", "", text)

    assert plain(missing) == plain(others)


def test_a_stale_form_says_what_to_do(fulup):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(fulup)
    refused = strict.post("/jobs/1/cancel/")
    assert refused.status_code == 403
    assert "Nothing was saved" in refused.content.decode()


def test_a_fault_of_ours_has_a_page(fulup, monkeypatch):
    def broken(request):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("ui.registry.found", lambda request, words: broken(request))
    client = Client(raise_request_exception=False)
    client.force_login(fulup)
    failed = client.get("/search/?q=x")
    assert failed.status_code == 500
    assert "This page failed" in failed.content.decode()
    assert "secret detail" not in failed.content.decode()


class Sheet(forms.Form):
    name = forms.CharField(label="Name", help_text="As it is called.")
    note = forms.CharField(required=False)
    tick = forms.BooleanField(required=False, label="Do it")
    way = forms.ChoiceField(choices=[("a", "A"), ("b", "B")], widget=forms.RadioSelect)
    secret = forms.CharField(widget=forms.HiddenInput)

    def clean(self):
        raise forms.ValidationError("The two don't fit.")


def test_a_field_says_its_error_beside_it_and_keeps_what_was_typed():
    form = Sheet({"name": "", "note": '<b>"typed"'})
    name = shown("{% field form.name %}", form=form)
    assert 'aria-invalid="true"' in name
    assert 'aria-describedby="id_name_err id_name_help"' in name
    assert 'class="err" id="id_name_err"' in name
    assert 'class="help" id="id_name_help"' in name
    note = shown("{% field form.note %}", form=form)
    assert "&lt;b&gt;&quot;typed&quot;" in note
    assert "aria-invalid" not in note
    assert "optional" in note


def test_each_kind_of_field_has_a_label():
    form = Sheet()
    assert '<label class="pick" for="id_tick">' in shown("{% field form.tick %}", form=form)
    assert "<legend>Way</legend>" in shown("{% field form.way %}", form=form)
    assert "<label" not in shown("{% field form.secret %}", form=form)
    assert "Something else." in shown("{% field form.name help='Something else.' %}", form=form)


def test_errors_of_no_field_stand_above_the_form():
    form = Sheet({"name": "x"})
    said = shown("{% form_errors form %}", form=form)
    assert "The two don&#x27;t fit." in said
    assert 'role="alert"' in said
    assert "This field is required." in said  # of the hidden one, which has no place of its own
    assert shown("{% form_errors form %}", form=Sheet()).strip() == ""


def test_a_refusal_is_its_message_and_its_note():
    said = shown("{% refusal it %}", it=Refused("It is <so>.", note="Do that."))
    assert "It is &lt;so&gt;." in said
    assert "Do that." in said
    assert shown("{% refusal it %}", it=None).strip() == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "just now"), (0, "just now"), (12, "12 s ago"), (300, "5 min ago"), (7200, "2 h ago"),
     (86_400 * 2, "20 November 2026, 14:00"), (-3600, "22 November 2026, 15:00")],
)  # fmt: skip
def test_times_are_relative_under_a_day(seconds, said):
    now = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
    assert words.ago(now - timedelta(seconds=seconds), now) == said


def test_a_time_carries_the_absolute_one():
    said = shown("{% ago when %}", when=timezone.now() - timedelta(seconds=30))
    assert re.search(r'<time datetime="20\d\d-[^"]+" title="20\d\d-[^"]+">3\d s ago</time>', said)
    assert shown("{% ago when %}", when=None) == "<span>never</span>"


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 kB"), (512 * 2**20, "512 MB"), (3 * 2**30, "3 GB"), (2**50, "1024 TB")],
)  # fmt: skip
def test_sizes_have_units(count, said):
    assert words.size(count) == said


def test_durations_read_like_a_watch():
    assert [words.clock(s) for s in (0, 21.9, 61, 3723)] == ["0:00", "0:21", "1:01", "1:02:03"]
    assert [words.took(s) for s in (0, 0.34, 2, 18.4, 300)] == ["0.1 s", "0.3 s", "2 s", "18 s", "5 min"]
    assert words.count(1, "step is", "steps are") == "1 step is"


def test_figures_say_their_limit():
    said = shown("{% meter 'Memory' 5 8 '5 GB' '8 GB' %}")
    assert 'aria-label="Memory: 5 GB of 8 GB"' in said
    assert 'value="62"' in said
    assert 'value="0"' in shown("{% meter 'Memory' 5 0 '5 GB' '0 GB' %}")


def test_pages_keep_what_was_filtered_for():
    request = RequestFactory().get("/x/", {"q": "a&b", "page": "2"})
    page = Paginator(range(30), 10).get_page(2)
    said = Template("{% load ui %}{% pages page %}").render(Context({"request": request, "page": page}))
    assert "11–20 of 30" in said
    assert 'href="?q=a%26b&amp;page=3"' in said
    assert 'rel="prev"' in said


def test_one_page_needs_no_pages():
    request = RequestFactory().get("/x/")
    page = Paginator(range(3), 10).get_page(1)
    assert Template("{% load ui %}{% pages page %}").render(Context({"request": request, "page": page})).strip() == ""


@pytest.fixture
def empty_registry(monkeypatch):
    for name, nothing in (("_askers", []), ("_searchers", []), ("_fragments", {})):
        monkeypatch.setattr(registry, name, nothing)


def test_higher_rooms_add_to_a_page_without_being_imported(empty_registry):
    registry.fragment("thing.detail", lambda request, thing: f"<p>about {thing}</p>")
    request = RequestFactory().get("/")
    said = Template("{% load ui %}{% fragments 'thing.detail' thing %}").render(
        Context({"request": request, "thing": "x"})
    )
    assert said == "<p>about x</p>"
    assert list(registry.fragments(request, "elsewhere", "x")) == []


def test_needs_and_hits_come_from_all_rooms(empty_registry):
    def ask(*states):
        return lambda request: [Attention(state=s, title=s, text="", url="/") for s in states]

    registry.attention(ask("old", "wait"))
    registry.attention(ask("bad"))
    registry.search(lambda request, words: [Found(title=words, sub="", url="/")])
    request = RequestFactory().get("/")
    assert [item.state for item in registry.needs(request)] == ["bad", "wait", "old"]
    assert [hit.title for hit in registry.found(request, "x")] == ["x"]


class Asked:
    def __init__(self, target="", boosted=False):
        self.target, self.boosted = target, boosted

    def __bool__(self):
        return True


def test_a_fragment_is_asked_for_by_the_elements_id():
    request = RequestFactory().get("/")
    assert htmx.wants(request) == ""
    request.htmx = Asked("rows")
    assert htmx.wants(request) == "rows"
    request.htmx = Asked("rows", boosted=True)
    assert htmx.wants(request) == ""


def test_a_redirect_for_htmx_is_a_header():
    request = RequestFactory().post("/")
    assert htmx.go_to(request, "/x/").status_code == 302
    request.htmx = Asked()
    gone = htmx.go_to(request, "/x/")
    assert (gone.status_code, gone["HX-Redirect"]) == (204, "/x/")


def test_a_fragment_of_an_ended_session_leads_its_page_to_the_sign_in(client, db):
    page = {"HX-Request": "true", "HX-Target": "rows", "HX-Current-URL": "http://testserver/jobs/?state=open"}
    gone = client.get("/jobs/?state=open&seen=abc", headers=page)
    assert (gone.status_code, gone["HX-Redirect"]) == (204, "/sign-in/?next=/jobs/%3Fstate%3Dopen")


HOSTILE = ["\x00", "'", "%", "\ud83d\ude80", "x" * 3000, "-1", "1e9", "99999999999999999999", "10.10.2", "<b>"]


@pytest.mark.parametrize(
    "path",
    ["/", "/search/", "/jobs/", "/machines/", "/machines/new/", "/zones/", "/people/", "/audit/", "/firewall/",
     "/firewall/services/", "/firewall/services/publish/", "/firewall/policy/", "/firewall/revisions/"],
)  # fmt: skip
def test_no_query_string_breaks_a_page(fulup, web_dom, path):
    client = Client(raise_request_exception=False)
    client.force_login(fulup)
    names = ("q", "page", "host", "state", "zone", "owner", "sort", "who", "kind", "id", "before", "after", "since",
             "until", "action", "out", "source", "target", "machine", "address", "external", "cell")  # fmt: skip
    for text in HOSTILE:
        query = dict.fromkeys(names, text.encode("utf-8", "surrogatepass"))
        assert client.get(path, query).status_code in (200, 302, 404), text[:20]
