#!/usr/bin/env bash
# Floods the server, which has one processor, while its users call; the
# generator has the others. Arguments go to bench/flood (-h lists them). As
# root the run comes before all else that the machine does: what is measured
# is what is left for users, and not what else there was to do.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
group=/proc/self/autogroup # sched(7); of this session
before=$(sed 's/.*nice //' "$group" 2>/dev/null || echo 0)
trap 'rm -rf "$dir"; first "$before"' EXIT

first() { { echo "$1" >"$group"; } 2>/dev/null || true; } # there may be none, or we may not

go build -o "$dir/sotto" ./cmd/sotto
go build -o "$dir/flood" ./bench/flood
cpus=$(nproc)
first -20
taskset -c "$((cpus > 1 ? 1 : 0))-$((cpus - 1))" "$dir/flood" -sotto "$dir/sotto" "$@"
