#!/bin/sh
# Before PID 1 of a systemd host: what a container manager prepares, then systemd itself.
hostname "$(cat /etc/hostname)"
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
. /sbin/boot-devices
mknod -m 600 /dev/console c 5 1
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export container=lab
exec /lib/systemd/systemd --system --log-target=console
