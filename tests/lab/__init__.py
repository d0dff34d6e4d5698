"""The lab, real hosts under software emulation: a Xen dom0, LVM alone, Debian 12 and 13 as a stranger has them.

Everything but the tests themselves needs only Debian's own Python. docs/lab.md says how to use it and what it costs.
"""
