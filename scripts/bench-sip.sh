#!/usr/bin/env bash
# Compares registrations and calls with Kamailio, in one run. Arguments go to
# bench/sip (-h lists them). The servers have one processor, the generator
# another one, if there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v kamailio >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "kamailio is not installed: Sotto is measured alone" >&2
		set -- -alone "$@"
	else
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kamailio >/dev/null
	fi
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/sotto" ./cmd/sotto
go build -o "$dir/sip" ./bench/sip
taskset -c $(($(nproc) > 1 ? 1 : 0)) "$dir/sip" -sotto "$dir/sotto" "$@"
