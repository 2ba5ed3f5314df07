# boot.sh ROOT DIRECTORY: makes the mounts of a Debian and becomes its systemd, as pid 1 of namespaces of its own. ROOT is
# not written to: DIRECTORY has the layer above it (upper, work), what may not be on an overlay (data), the place to mount
# all of it (root) and what is shared with the owner (share).
set -e
image=$1 dir=$2
mount --make-rprivate /
mount -t overlay -o "lowerdir=$image,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
cd "$dir/root"
hostname lane
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -o remount,bind,ro,nosuid,nodev,noexec sys
mount -t tmpfs -o mode=755,nosuid tmpfs dev
umask 0
while read -r name mode major minor; do mknod -m "$mode" "dev/$name" c "$major" "$minor"; done <<NODES
null 666 1 3
zero 666 1 5
full 666 1 7
random 666 1 8
urandom 666 1 9
tty 666 5 0
fuse 666 10 229
loop-control 660 10 237
NODES
for i in 0 1 2 3 4 5 6 7; do mknod -m 660 "dev/loop$i" b 7 "$i"; done
mkdir dev/net dev/pts dev/shm dev/mqueue && mknod -m 666 dev/net/tun c 10 200
umask 022
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5,nosuid,noexec devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin && ln -s fd/1 dev/stdout && ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
for data in var/lib/containers var/lib/docker var/lib/containerd var/tmp home/tester; do
  mkdir -p "$dir/data/$data" "$data"
  cp -a --no-preserve=links "$data/." "$dir/data/$data/"
  chown --reference="$data" "$dir/data/$data" && chmod --reference="$data" "$dir/data/$data"
  mount --bind "$dir/data/$data" "$data"
done
mount --bind "$dir/share" lane
# systemd does not start where its cgroup is not its own, and whoever came here is still in the one outside.
echo 0 >sys/fs/cgroup/cgroup.procs
mkdir run/old
pivot_root . run/old
umount -l /run/old && rmdir /run/old
mount --make-rshared /
exec env -i container=lane PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
  /lib/systemd/systemd --log-target=console --log-level=notice --show-status=0
