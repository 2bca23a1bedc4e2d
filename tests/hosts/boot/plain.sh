#!/bin/bash
# PID 1 of a plain host: mounts what a kernel and an early boot would give, starts sshd, reaps orphans.
hostname "$(cat /etc/hostname)"
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock
. /sbin/boot-devices
/usr/sbin/sshd -E /run/sshd.log -o PidFile=/run/sshd.pid
trap 'exit 0' TERM
while :; do
  sleep infinity &
  wait $!
done
