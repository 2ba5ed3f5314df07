# The lane's side: runs the scripts that appear as /lane/do.1, /lane/do.2, ..., one after the other, with their output in
# out.N and their exit status in done.N. Waits without starting a process: they are slow in an emulated machine.
export HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
mkfifo /run/lane.wait && exec 9<>/run/lane.wait
echo >/lane/up
n=1
while :; do
  until [ -e /lane/do.$n ]; do read -r -t 0.1 -u 9; done
  bash /lane/do.$n >>/lane/out.$n 2>&1 </dev/null 9>&-
  echo $? >/lane/done.new && mv /lane/done.new /lane/done.$n
  n=$((n + 1))
done
