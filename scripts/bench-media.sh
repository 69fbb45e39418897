#!/usr/bin/env bash
# Compares what relaying media costs with Debian's rtpengine, a forwarder in C
# and no relay at all, in one run of a quarter of an hour; -stages takes a part
# of it, of four minutes at most. Arguments go to bench/media (-h lists them).
# It takes root, two processors and a kernel from 6.6 on, and has the machine's
# other programs wait while it measures.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
	echo "bench-media makes network namespaces: run it as root" >&2
	exit 1
fi
need=(ip:iproute2 cc:gcc rtpengine:rtpengine-daemon)
missing=()
for n in "${need[@]}"; do
	command -v "${n%%:*}" >/dev/null || missing+=("${n##*:}")
done
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/media" ./bench/media
# A session of its own, before others: sessions are what processors are shared among.
setsid --wait sh -c 'echo -15 >/proc/self/autogroup 2>/dev/null; exec nice -n -15 "$@"' sh "$dir/media" "$@"
