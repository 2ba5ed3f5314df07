# setup.sh USER UID FIRST COUNT UNIT...: run in the root filesystem of the image. Makes the user with the ids that it may
# map, leaves out what only costs time at boot, and makes the small initial root of the virtual machine.
set -e
user=$1 uid=$2 first=$3 count=$4
shift 4

useradd --create-home --uid "$uid" --user-group --shell /bin/bash "$user"
echo "$user:$first:$count" >/etc/subuid
echo "$user:$first:$count" >/etc/subgid
mkdir -p /var/lib/systemd/linger /lane /etc/systemd/system/user@.service.d
: >"/var/lib/systemd/linger/$user"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/delegate.conf
echo lane >/etc/hostname
echo 127.0.0.1 localhost lane >/etc/hosts

# Not all are there in every version of Debian. A test can start them.
for unit; do systemctl --quiet disable "$unit" 2>/dev/null || true; done

# Debian has a profile for each of a hundred programs, which take longer to load than all else.
for profile in /etc/apparmor.d/*; do
  case ${profile##*/} in
  crun | runc) ;;
  *) [ -d "$profile" ] || rm "$profile" ;;
  esac
done

# Each boot is the first of what it writes to. Without these it would be taken for the first of the installation, at which
# all presets are applied and all caches made.
echo 6c616e656c616e656c616e656c616e65 >/etc/machine-id
touch /etc/.updated /var/.updated

# Debian's own initial root is made for any machine. This one is for one with a virtio disk.
kernel=$(ls /lib/modules)
tree=$(mktemp -d)
mkdir "$tree/bin" "$tree/dev" "$tree/modules" "$tree/root"
cp "$(command -v busybox)" "$tree/bin/busybox"
for module in virtio_blk ext4; do modprobe -S "$kernel" --show-depends "$module"; done |
  while read -r _ path _; do
    name=$(basename "$path" .xz)
    busybox xz -dc "$path" >"$tree/modules/$name"
    echo "$name" >>"$tree/order"
  done
cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
while read -r module; do busybox insmod "/modules/$module"; done </order
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /root
busybox umount /dev
exec busybox switch_root /root /lib/systemd/systemd
INIT
chmod 755 "$tree/init"
(cd "$tree" && find . | busybox cpio -o -H newc) >/boot/initrd.lane
rm -rf "$tree" /boot/initrd.img*
