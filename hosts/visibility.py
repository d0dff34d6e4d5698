"""Who may see a job and who may move it on. hosts knows no machine: the rooms above say whose their targets are."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import Q, QuerySet

from accounts.access import RULES, Role, may_somewhere
from accounts.models import User
from hosts.kinds import Approval, kind_of
from hosts.models import Job

Rule = Callable[[User, str], Q]
_rules: dict[str, Rule] = {}


def register(target_kind: str, rule: Rule) -> None:
    """Have `rule(user, action)` give the jobs of `target_kind` on whose target `user` may do `action`.

    E.g. for machines: `Q(target_id__in=Machine.objects.visible_to(user, action).values("pk"))`.
    """
    if target_kind in _rules:
        raise ValueError(f"two rules say who sees jobs of a {target_kind}")
    _rules[target_kind] = rule


def jobs_visible_to(user: User, action: str = "job.view") -> QuerySet[Job]:
    """The jobs `user` may see: operators all, others their own and those of targets they may see."""
    if not may_somewhere(user, action):
        return Job.objects.none()
    if user.role in RULES[action].roles:
        return Job.objects.all()
    seen = Q(actor=user)
    for kind, rule in _rules.items():
        seen |= Q(target_kind=kind) & rule(user, action)
    return Job.objects.filter(seen)


def may_approve(user: User, job: Job) -> bool:
    """Whether `user` is whom the kind's approval names: an operator, or who asked and may still do it."""
    if _approval(job) == "operator":
        return user.is_active and user.role == Role.OPERATOR
    return job.actor_id == user.pk and may_still(job)


def may_mend(user: User, job: Job) -> bool:
    """Whether `user` may cancel, go on with or undo the job: an operator, or who asked and may still do it."""
    if user.is_active and user.role == Role.OPERATOR:
        return True
    return job.actor_id == user.pk and _approval(job) != "operator" and may_still(job)


def may_see_target(user: User, job: Job) -> bool:
    """Whether `user` may see what the job is about: who asked may have lost it since."""
    if user.role in RULES["job.view"].roles:
        return True
    holds = _rules.get(job.target_kind)
    return holds is not None and Job.objects.filter(holds(user, "job.view"), pk=job.pk).exists()


def may_still(job: Job) -> bool:
    """Whether who asked for the job may do it now; the worker asks again before anything runs."""
    user, rule = job.actor, RULES.get(job.kind)
    if rule is None or not user.is_active:
        return False
    if user.role in rule.roles:
        return True
    holds = _rules.get(job.target_kind)
    return holds is not None and Job.objects.filter(holds(user, job.kind), pk=job.pk).exists()


def _approval(job: Job) -> Approval:
    """The kind's approval; a kind nobody knows any more is for the operators."""
    try:
        return kind_of(job.kind).approval
    except KeyError:
        return "operator"
