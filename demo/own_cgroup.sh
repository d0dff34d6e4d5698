#!/bin/sh
# Stands in for libvirt's controller of lxc machines where control groups are of version 1 (demo/room.py).
# systemd wants a group of its own in the hierarchy that has no controllers, and libvirt makes none there without a
# systemd on the host: every machine would share dom0's, and get it as its own. So: made here, and entered first.
set -eu
previous= name=
for word; do
    [ "$previous" != --name ] || name=$word
    previous=$word
done
group=/sys/fs/cgroup/systemd/machines/$name
if [ -d "$group" ]; then # of its last start, and of whoever had its name then
    find "$group" -depth -type d -exec rmdir {} +
fi
mkdir -p "$group"
echo $$ >"$group/cgroup.procs"
exec /run/libvirt_lxc "$@"
