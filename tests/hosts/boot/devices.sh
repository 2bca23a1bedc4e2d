# Sourced by both kinds of PID 1: /dev, /sys and the machine's settings, of which a host gets copies,
# so that one that changes them changes nothing outside.
mount -t tmpfs -o mode=755 tmpfs /dev
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
  set -- $node
  mknod -m 666 "/dev/$1" c "$2" "$3"
done
mkdir -p /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/kernel
for setting in vm/swappiness vm/max_map_count vm/dirty_ratio vm/dirty_background_ratio; do
  copy=/run/kernel/$(basename "$setting")
  cat "/proc/sys/$setting" > "$copy"
  mount --bind "$copy" "/proc/sys/$setting"
done
pages=/sys/kernel/mm/transparent_hugepage/enabled
if [ -e "$pages" ]; then
  cat "$pages" > /run/kernel/transparent_hugepage
  mount --bind /run/kernel/transparent_hugepage "$pages"
fi
