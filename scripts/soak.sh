#!/usr/bin/env bash
# Has 2,000 sessions relayed for ten minutes while calls come and go, and
# accounts for each packet. Arguments go to bench/media soak (-h lists them);
# without -plane it is played with the kernel's plane, and then in user space.
# It takes root, two processors and a kernel from 6.6 on.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	echo "soak makes network namespaces: run it as root" >&2
	exit 1
fi
dir=$(mktemp -d)
# Threads of one real-time priority take turns, of 100 ms if nobody says
# otherwise: whenever Go's runtime collects garbage the relay's loop would wait
# for so long. With an ordinary priority turns are of some milliseconds.
turns=/proc/sys/kernel/sched_rr_timeslice_ms
before=$(cat "$turns")
trap 'echo "$before" >"$turns"; rm -rf "$dir"' EXIT
echo 4 >"$turns"
go build -o "$dir/media" ./bench/media
# A session of its own, before others: sessions are what processors are shared among.
soak() {
	setsid --wait sh -c 'echo -15 >/proc/self/autogroup 2>/dev/null; exec nice -n -15 "$@"' sh "$dir/media" soak "$@"
}
case " $* " in
*" -plane"*) soak "$@" ;;
*)
	soak -plane kernel "$@"
	soak -plane user -sessions 1000 "$@"
	;;
esac
