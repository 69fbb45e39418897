#!/usr/bin/env bash
# Runs the tests of the kernel's plane on other kernels than this machine's, in
# virtual machines: on Debian 12's own, which has no tcx, and on the newer one
# that it offers; or on those that are named (linux-image-6.1.0-56-amd64). It
# takes Debian, root if something is to be installed, and without /dev/kvm some
# minutes each. A machine that runs for longer than LIMIT seconds has failed.
set -euo pipefail
cd "$(dirname "$0")/.."
limit=${LIMIT:-900}
modules=(8021q veth bridge macvlan sch_ingress cls_bpf)
files=(net/{8021q,802,llc,bridge} net/sched/{sch_ingress,cls_bpf}.ko drivers/net/{veth,macvlan}.ko)
# What has an engine with that plane; of rtpengine/kernel it is all.
tests='^Test(Kernel|Flows|Declined|MovedParty|Attacks)'
# A test that is left out has failed, unless it is about the compiler, tcx or rtpengine.
may='^ *--- SKIP: (TestGenerated|TestCrash/tcx|TestAttacks/.*/rtpengine.*) '

need=(apt-get:apt qemu-system-x86_64:qemu-system-x86 busybox:busybox-static ip:iproute2 setpriv:util-linux)
missing=()
for n in "${need[@]}"; do
	command -v "${n%%:*}" >/dev/null || missing+=("${n##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "not installed: ${missing[*]}; on Debian, as root, this installs them" >&2
		exit 2
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# programs makes the part of a machine's files that is the same for all kernels.
programs() {
	local root=$work/programs
	mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp,run}
	CGO_ENABLED=0 go test -c -o "$root/bin/" ./rtpengine/kernel ./rtpengine
	for p in ip setpriv; do
		cp "$(command -v $p)" "$root/bin"
		ldd "$(command -v $p)" | grep -o '/[^ ]*' | xargs cp -L --parents -t "$root"
	done
	cp "$(command -v busybox)" "$root/bin"
	cp /etc/protocols "$root/etc"
	cat >"$root/init" <<-END
		#!/bin/busybox sh
		export PATH=/bin
		busybox mount -t proc proc /proc
		/bin/busybox --install -s /bin
		mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
		mount -t tmpfs tmp /tmp; mount -t tmpfs run /run; mount -t bpf bpf /sys/fs/bpf
		exec >/dev/ttyS0 2>&1
		for m in ${modules[*]}; do modprobe \$m; done
		ip link set lo up
		kernel.test -test.v && rtpengine.test -test.v -test.run '$tests' && echo ALL PASSED
		poweroff -f
	END
	chmod +x "$root/init"
}

# image gets a kernel, and adds its modules to the files.
image() {
	local dir=$work/$1 root=$work/$1/root
	mkdir "$dir"
	cp -r "$work/programs" "$root"
	(cd "$dir" && apt-get download -qq -o APT::Sandbox::User=root "$1" && dpkg -x ./*.deb .)
	(
		cd "$dir"/lib/modules/*
		for f in "${files[@]}"; do
			cp -r --parents "kernel/$f"* "$dir/root/"
		done
		mkdir -p "$root/lib/modules/${PWD##*/}"
		mv "$root/kernel" "$root/lib/modules/${PWD##*/}"
		find "$root/lib/modules" -name '*.xz' -exec busybox unxz {} +
		busybox depmod -b "$root" "${PWD##*/}"
	)
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$dir/initrd"
}

# boot runs the tests, and fails if one of them did, or was left out.
boot() {
	local dir=$work/$1 began=$SECONDS accel=tcg skipped
	[ ! -w /dev/kvm ] || accel=kvm
	timeout "$limit" qemu-system-x86_64 -accel $accel -cpu max -smp 2 -m 1024 -net none -vga none \
		-display none -serial stdio -no-reboot \
		-kernel "$dir"/boot/vmlinuz-* -initrd "$dir/initrd" -append "console=ttyS0 quiet panic=-1" \
		</dev/null 2>&1 | tr -d '\r' | tee "$dir/log" | grep -aE --line-buffered '^ *--- ' || true
	skipped=$(grep -aE '^ *--- SKIP' "$dir/log" | grep -vE "$may" || true)
	if [ -n "$skipped" ] || ! grep -qa '^ALL PASSED$' "$dir/log"; then
		grep -avE '^=== ' "$dir/log" >&2
		echo "$1: failed after $((SECONDS - began)) s"
		return 1
	fi
	echo "$1: passed in $((SECONDS - began)) s"
}

if [ $# = 0 ]; then # those that packages without a version in their names stand for
	mapfile -t kernels < <(apt-cache depends linux-image-amd64 linux-image-6.12-amd64 | sed -n 's/^ *Depends: //p')
	[ ${#kernels[@]} -gt 0 ] || { echo "apt knows of no kernels: apt-get update" >&2; exit 2; }
	set -- "${kernels[@]}"
fi
programs
failed=0
for k in "$@"; do
	echo "== $k"
	image "$k"
	boot "$k" || failed=1
done
exit $failed
