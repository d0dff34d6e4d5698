"""`fridu explain` and `fridu reach`: can X reach Y, and why (not); and the same for the whole site."""

from __future__ import annotations

from dom0.errors import Refused
from firewall import probes, reach, rows
from firewall.explain import Explainer
from firewall.questions import QuestionForm
from firewall.specs import Site
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host

EXAMPLE = "for example: fridu explain internet WEB-Dom tcp 80"


def explain(call: Call, host: Host) -> int:
    """The answer from the rules in force; with probe=yes the host tries it. Ends with 0 where it gets through."""
    call.demand("firewall.view")
    unknown = sorted(set(call.typed.pairs) - {"probe"})
    if unknown:
        raise Misunderstood(f"explain knows no {unknown[0]}. It takes probe=yes.")
    words = [call.word(n, f"from, to, protocol and port, {EXAMPLE}") for n in range(3)]
    proto = "icmp" if words[2] == "ping" else words[2]
    port = "" if proto == "icmp" else call.word(3, f"a port, {EXAMPLE}")
    _, site = rows.loaded(host)
    form = QuestionForm({"source": words[0], "target": words[1], "proto": proto, "port": port}, host=host, site=site)
    if not form.is_valid():
        raise Refused(" ".join(str(said) for errors in form.errors.values() for said in errors))
    explainer = Explainer(site, rows.machine_names(host), vpn_address=rows.vpn_address(host))
    answer = explainer.ask(form.question)
    call.say({True: "Yes.", False: "No.", None: "It depends."}[answer.reaches])
    for reason in answer.reasons:
        call.say(f"  {reason.sentence}")
    if call.typed.verbose:
        for rule in answer.rules:
            call.say(f"     -A {rule.chain} {rule.args}")
    if call.typed.pairs.get("probe") == "yes":
        return _probe(call, host, site, form)
    return 0 if answer.reaches else 1


def _probe(call: Call, host: Host, site: Site, form: QuestionForm) -> int:
    job = probes.ask(call.actor, host, site, form.question)
    code = follow(call, job)
    arrived, words = probes.found(job)
    call.say(f"Tried: {words}")
    return code or (0 if arrived else 1)


def reach_(call: Call, host: Host) -> int:
    """Who reaches whom, a line a pair that reaches anything."""
    call.demand("firewall.view")
    for each in reach.matrix(rows.loaded(host)[1], vpn_address=rows.vpn_address(host)):
        names = ", ".join(f"{s.name} ({s.where})" for s in each.published)
        more = [each.words] * bool(each.look) + [f"published {names}"] * bool(names)
        if more and each.source != each.target:
            call.say(f"{each.source:>16} → {each.target:<16} {'; '.join(more)}")
    return 0
