# sotto  the program, into this directory
# try    the whole server on loopback, with demo users; prints what to dial
# demo   the server and four phones of its own: plays the calls, shows who saw what
# test   installs what the tests need, runs all of them
# race   all tests with the race detector, in random order
# check  format, static analysis, limits of size and complexity
# fuzz   every fuzz target, FUZZTIME each
# mutants  the leak harness against the product without one treatment, for each of them
# bench  the benchmarks of the packages
# leaktest-kamailio  sotto leaktest over Kamailio with rtpengine, and over Sotto
# bench-media  relaying, beside rtpengine, a forwarder in C and no relay, in the same run (root)
# attacks  attacks on the media of calls, and on rtpengine's in the same run
# soak   2,000 relayed sessions for ten minutes while calls come and go; each packet is accounted for (root)
# kernels  the tests of the kernel's media plane on Debian's kernels, in virtual machines (Debian)
# bench-flood  users' calls while 20,000 hostile datagrams a second come in
# ks     do a stranger's times over real sockets tell a recipient's state? prints p-values
# bench-sip  registrations and calls, beside Kamailio in the same run

FUZZTIME ?= 60s

.PHONY: sotto try demo test race check fuzz mutants bench bench-media soak bench-sip leaktest-kamailio attacks kernels bench-flood ks

try: sotto
	./sotto try

demo: sotto
	./sotto try --demo

sotto:
	go build -o sotto ./cmd/sotto

test:
	scripts/deps.sh
	go test -timeout 30m ./...

race:
	go test -race -shuffle=on -timeout 60m ./...

check:
	scripts/check.sh

fuzz:
	scripts/fuzz.sh $(FUZZTIME)

mutants:
	go test -tags mutants -run '^TestEvery(Link)?MutantIsCaught$$' -v ./proxy ./e2e

bench:
	go test -run '^$$' -bench . -benchmem ./...

bench-media:
	scripts/bench-media.sh

soak:
	scripts/soak.sh

bench-sip:
	scripts/bench-sip.sh

leaktest-kamailio:
	scripts/leaktest-kamailio.sh

attacks:
	command -v rtpengine >/dev/null || apt-get install -y -qq --no-install-recommends rtpengine-daemon
	ATTACK_PEERS=1 go test -count=1 -v -run 'TestAttacks|TestMovedParty' ./rtpengine

kernels:
	scripts/kernels.sh

bench-flood:
	scripts/bench-flood.sh

ks:
	go test ./bench -run '^TestKS$$' -ks -v -count 1
