#!/usr/bin/env bash
# Format, static analysis, and the limits of .golangci.yml. The tools are
# pinned here and kept out of go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.tools
tool() { # name package@version
	local stamp="$bin/$1-${2##*@}"
	if [ ! -e "$stamp" ]; then
		GOBIN=$bin go install "$2"
		touch "$stamp"
	fi
}
tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
tool gofumpt mvdan.cc/gofumpt@v0.12.0
tool govulncheck golang.org/x/vuln/cmd/govulncheck@v1.9.0

unformatted=$("$bin/gofumpt" -l .)
if [ -n "$unformatted" ]; then
	echo "not formatted (gofumpt -w):" "$unformatted"
	exit 1
fi
go vet ./...
"$bin/golangci-lint" run ./...
go test -run TestArchitecture .

# Known vulnerabilities in what we call. Where vuln.go.dev cannot be reached
# the check is left out, and says so.
if ! found=$("$bin/govulncheck" ./... 2>&1); then
	if [[ $found == *"fetching vulnerabilities"* ]]; then
		echo "govulncheck left out: no way to vuln.go.dev"
	else
		echo "$found"
		exit 1
	fi
fi
