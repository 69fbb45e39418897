#!/usr/bin/env bash
# Plays `sotto leaktest` over Kamailio with rtpengine and each kind of topology
# hiding, and over Sotto, one after the other, in a network namespace of its
# own. As root, on Debian. Arguments go to sotto leaktest (-v, --transport tcp).
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${IN_NAMESPACE:-}" = "" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "a network namespace of its own is for root" >&2
		exit 2
	fi
	if ! command -v kamailio >/dev/null || ! command -v rtpengine >/dev/null; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kamailio rtpengine-daemon >/dev/null
	fi
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	go build -o "$work/sotto" ./cmd/sotto
	IN_NAMESPACE=$work unshare --net "$0" "$@"
	exit
fi

work=$IN_NAMESPACE
ip link set lo up
mkdir "$work/dbtext"
for table in version topos_d topos_t; do
	# topos stores what is empty as none, which these tables would refuse.
	sed '1s/(string)/(string,null)/g' "/usr/share/kamailio/dbtext/kamailio/$table" >"$work/dbtext/$table"
done
sed "s#@DBTEXT@#$work/dbtext#" bench/leaktest/kamailio.cfg >"$work/kamailio.cfg"
rtpengine --config-file=none --table=-1 --foreground --log-stderr --log-level=3 --interface=127.0.0.1 \
	--listen-ng=127.0.0.1:2223 --port-min=30000 --port-max=31000 >"$work/rtpengine.log" 2>&1 &
rtpengine=$!
kamailio=
trap 'kill $rtpengine $kamailio 2>/dev/null || true' EXIT

# listening PORT: waits until somebody listens there.
listening() {
	for _ in $(seq 100); do
		if ss -lun | grep -q "127.0.0.1:$1 "; then
			return
		fi
		sleep 0.1
	done
	tail -20 "$work"/*.log >&2
	exit 2
}

# against NAME DEFINE...: the test over Kamailio, with these parts of its configuration.
against() {
	local name=$1
	shift
	kamailio -f "$work/kamailio.cfg" -DD -E -m 64 -M 8 -Y "$work" "$@" >"$work/kamailio.log" 2>&1 &
	kamailio=$!
	listening 5060
	printf '\n== Kamailio %s, rtpengine %s, %s\n\n' "$(kamailio -v | sed -n 's/^version: kamailio \([^ ]*\).*/\1/p')" \
		"$(rtpengine --version 2>&1 | sed -n 's/^Version: //p')" "$name"
	"$work/sotto" leaktest --against 127.0.0.1:5060 --user alice@leak.example --user bob@leak.example "${options[@]}" || failed $?
	kill "$kamailio"
	wait "$kamailio" || true
	kamailio=
	# What it could not do as configured would be held against it.
	if grep -v "$harmless" "$work/kamailio.log" | grep ERROR >&2; then
		exit 2
	fi
}

# failed ends the script unless the code says that something leaked, which is a result.
failed() {
	if [ "$1" != 1 ]; then
		tail -20 "$work/kamailio.log" "$work/rtpengine.log" >&2
		exit "$1"
	fi
}

options=("$@")
harmless=tps_prepare_msg # topos 5.6.3 loses the responses to MESSAGE and OPTIONS without a call
listening 2223
against "no topology hiding"
against topoh -A WITH_TOPOH
against topos -A WITH_TOPOS
printf '\n== Sotto\n\n'
"$work/sotto" leaktest "${options[@]}"
