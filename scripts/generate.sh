#!/usr/bin/env bash
# Makes the eBPF object of rtpengine/kernel anew from relay.c, in the folder
# that is named (default: where it is committed). A build does not need this:
# the object is committed, and rtpengine/kernel's test compares it. Another
# version of clang makes another object; Debian 12 has the one that counts.
set -euo pipefail
cd "$(dirname "$0")/../rtpengine/kernel"
out=${1:-$PWD}
bpf2go=github.com/cilium/ebpf/cmd/bpf2go@v0.22.0

need() { # what Debian has
	[ "$(id -u)" = 0 ] || { echo "install clang, llvm and libbpf-dev"; exit 1; }
	apt-get install -y -q clang llvm libbpf-dev linux-libc-dev
}
command -v clang >/dev/null && command -v llvm-strip >/dev/null && [ -e /usr/include/bpf/bpf_helpers.h ] || need
bin=$(cd ../../ && pwd)/.tools
[ -x "$bin/bpf2go" ] || (cd / && GOBIN=$bin go install "$bpf2go")

GOPACKAGE=kernel "$bin/bpf2go" -no-global-types -target amd64 -output-dir "$out" relay relay.c -- \
	-O2 -Wall -Werror -I"/usr/include/$(uname -m)-linux-gnu" >/dev/null
# The package exists on amd64 only (doc.go).
sed -i 's/^\/\/go:build 386 || amd64$/\/\/go:build amd64/' "$out/relay_x86_bpfel.go"
