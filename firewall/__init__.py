"""The firewall: wishes in the database, compiled to the files of a revision, tried on the host, kept or taken back.

Where to look, in the order of a change; `specs.Site`, one host's objects as frozen data, goes through all of it.

| question | modules |
|---|---|
| What does an operator wish? | models, services, own_rules; rows (rows ↔ Site) |
| What may be wished? | lint, lint_site, own_rule_lint → findings; ports |
| Which rules is that? | rules, nat, rule → render (a revision's files) |
| What is different, for whom? | words, affected, held, waiting, shown_changes; undo (a wish back) |
| How does it get onto the host? | trials → kinds → plan; flows, rule_flows (connections to cut); own_rule_kinds |
| What did the host decide or somebody change? | watch → booking, drift, counters, trouble; applied (its past) |
| Who reaches whom, and why not? | walk (a packet through the rules) → explain, reach, effective; questions, probes |
| The language of the old scripts | grammar, history, customs, quickstart → importer → merging → imports; exporter |
| A whole older box | takeover/ → bundles |
| Pages | urls → views/ → forms, import_forms; listing, asking, shown, trial_scene, tryouts |
| What a zone's move or end does here | moves |

The guard, which takes a trial back by itself and finishes a restoration, is dom0's: `dom0.guard`, `dom0.trial`,
`dom0.pointers`, `dom0.loading`.
"""
