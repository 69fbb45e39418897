#!/usr/bin/env bash
# Floods the server, which has one processor, while its users call; the
# generator has the others. Arguments go to bench/flood (-h lists them).
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/sotto" ./cmd/sotto
go build -o "$dir/flood" ./bench/flood
cpus=$(nproc)
taskset -c "$((cpus > 1 ? 1 : 0))-$((cpus - 1))" "$dir/flood" -sotto "$dir/sotto" "$@"
