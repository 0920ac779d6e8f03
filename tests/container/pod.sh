#!/bin/bash
# Runs a command in an unpacked image as a pod under Kubernetes' standard "restricted" would, as root: the root is
# read-only, /tmp and /dev/shm are the only volumes, the user has no name, no capabilities and no way to get any, and
# there are no processes and no network but its own.
#   pod.sh ROOT USER NAME=VALUE… COMMAND…
set -eu
if [ "$1" != inside ]; then
  exec unshare --mount --pid --net --fork --kill-child --propagation private "$0" inside "$@"
fi
root=$2 user=$3
shift 3
ip link set lo up
echo '127.0.0.1 localhost' > "$root/etc/hosts" # A kubelet writes it.
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
mount --types proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --types tmpfs --options mode=1777 shm "$root/dev/shm"
mount --types tmpfs --options mode=1777 tmp "$root/tmp"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --inh-caps=-all \
  --bounding-set=-all env --ignore-environment --chdir=/tmp "$@"
