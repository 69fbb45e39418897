#!/usr/bin/env bash
# Runs every fuzz target of the tree for the given time. Inputs are not made
# smaller: for a target that plays whole calls that would take all of it.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-60s}
grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do
	dir=$(dirname "$file")
	grep -oE '^func Fuzz[A-Za-z0-9]+' "$file" | awk '{print $2}' | while read -r target; do
		echo "== $dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$dir"
	done
done
