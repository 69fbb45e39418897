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
trap 'rm -rf "$dir"' EXIT
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
