# try    the whole server on loopback, with demo users; prints what to dial
# test   installs what the tests need, runs all of them
# check  format, static analysis, limits of size and complexity
# fuzz   every fuzz target, FUZZTIME each
# bench  the benchmarks of the packages

FUZZTIME ?= 60s

.PHONY: try test check fuzz bench

try:
	go run ./cmd/sotto try

test:
	scripts/deps.sh
	go test ./...

check:
	scripts/check.sh

fuzz:
	scripts/fuzz.sh $(FUZZTIME)

bench:
	go test -run '^$$' -bench . -benchmem ./...
