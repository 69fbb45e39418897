#!/usr/bin/env bash
# Installs the phones and tools that the end-to-end tests drive, where that is
# possible: on Debian, as root. Elsewhere those tests are skipped and say so.
set -euo pipefail

need=(linphonec:linphone-cli baresip:baresip-core sipp:sip-tester tcpdump:tcpdump ip:iproute2 sox:sox nft:nftables
	python3:python3 svmap:sipvicious clang:clang llvm-strip:llvm)
missing=()
for n in "${need[@]}"; do
	command -v "${n%%:*}" >/dev/null || missing+=("${n##*:}")
done
# The eBPF object is made anew and compared (rtpengine/kernel TestGenerated).
[ -e /usr/include/bpf/bpf_helpers.h ] || missing+=(libbpf-dev)
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "not installed: ${missing[*]}; the end-to-end tests that need them are skipped" >&2
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
