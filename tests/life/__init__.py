"""One machine's whole life as one story, for whatever host it is played on: lxc here, a Xen dom0 in the lab."""
