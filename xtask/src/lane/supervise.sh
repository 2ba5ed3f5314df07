# supervise.sh CGROUP DIRECTORY COMMAND...: runs COMMAND in CGROUP until it ends or standard input does, which is when
# the owner says so or is gone. Afterwards nothing is left of either. Runs in a session of its own: Ctrl-C is for the owner.
trap '' INT HUP TERM
cgroup=$1 dir=$2; shift 2
{
  exec 2>/dev/null # here a shell would tell that the command was killed
  (echo 0 >"$cgroup/cgroup.procs" && exec "$@" </dev/null >"$dir/console" 2>&1)
  echo "$?" >"$dir/ended"
} &
cat >/dev/null
while [ -d "$cgroup" ]; do
  echo 1 >"$cgroup/cgroup.kill"
  find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null
  sleep 0.05
done
wait
# The mounts were in a namespace that is gone, and what is not gone of it is another file system.
rm -rf --one-file-system "$dir"
