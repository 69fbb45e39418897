// Package sotto has no code; its test holds the architecture.
package sotto

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers are the packages from the top down; a package imports only from
// below (style guide: cmd → proxy → engine, tokens, location, store, configs → internal).
var layers = []string{
	"cmd/sotto", "proxy/leaktest", "proxy/proxytest", "proxy/phone", "proxy/hostile", "proxy", "proxy/txn", "proxy/flow",
	"proxy/guard", "proxy/wire", "proxy/receipt", "proxy/leak", "proxy/resolve",
	"rtpengine", "rtpengine/kernel", "rtpengine/coalesce", "location", "store",
	"tokens", "configs",
	"internal/memnet", "internal/stun", "internal/aor", "internal/ks", "internal/torture", "internal/ng",
	"internal/ethtool",
}

// only says who may import a library.
var only = map[string][]string{
	"github.com/emiago/sipgo":  {"proxy"},
	"github.com/pion/":         {"rtpengine", "internal/stun", "proxy/phone", "proxy/leak"},
	"modernc.org/sqlite":       {"store"},
	"github.com/cilium/ebpf":   {"rtpengine/kernel"},
	"github.com/vishvananda":   {"rtpengine/kernel", "rtpengine/coalesce"},
	"github.com/goccy/go-yaml": {"configs"},
	"github.com/alecthomas":    {"cmd/sotto"},
	"github.com/prometheus":    {"cmd/sotto"}, // metrics are what sotto status says: no package counts for them
	"github.com/emersion":      {"cmd/sotto"}, // vCards are files of a recipient's own
}

// pure packages do no I/O.
var pure = []string{"tokens", "internal/aor", "internal/ks"}

// outside is what a pure package may not import.
var outside = []string{"net", "net/http", "os", "io/fs", "database/sql", "log"}

// Limits of size (style guide §6): a file of source, and a function.
const (
	maxFile     = 400
	maxFunction = 60
)

func TestArchitecture(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "." {
			return filepath.SkipDir
		}
		if strings.HasSuffix(file, ".go") {
			checkFile(t, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkFile holds one file to the arrows and the limits.
func checkFile(t *testing.T, file string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	pkg, test := path.Dir(filepath.ToSlash(file)), strings.HasSuffix(file, "_test.go")
	for _, imp := range f.Imports {
		checkImport(t, file, pkg, strings.Trim(imp.Path.Value, `"`), test)
	}
	if test {
		return
	}
	lines := strings.Split(string(src), "\n")
	if len(lines) > maxFile+1 {
		t.Errorf("%s has %d lines; %d are enough for one noun", file, len(lines), maxFile)
	}
	checkFunctions(t, file, lines)
}

// checkFunctions holds the functions of a file to their limit, and refuses init.
func checkFunctions(t *testing.T, file string, lines []string) {
	t.Helper()
	start := -1
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "func init()"):
			t.Errorf("%s:%d: no init: state has an owner", file, i+1)
		case strings.HasPrefix(l, "func ") && !strings.HasSuffix(l, "}"):
			start = i
		case l == "}" && start >= 0:
			if n := i - start + 1; n > maxFunction {
				t.Errorf("%s:%d: function of %d lines; %d are a screen", file, start+1, n, maxFunction)
			}
			start = -1
		}
	}
}

// checkImport holds one import to the arrows.
func checkImport(t *testing.T, file, pkg, imp string, test bool) {
	t.Helper()
	for lib, who := range only {
		if strings.HasPrefix(imp, lib) && !slices.ContainsFunc(who, func(w string) bool {
			return pkg == w || strings.HasPrefix(pkg, w+"/")
		}) && !measures(pkg) {
			t.Errorf("%s imports %s; only %v may", file, imp, who)
		}
	}
	if slices.Contains(pure, pkg) && !test && slices.Contains(outside, imp) {
		t.Errorf("%s imports %s; %s does no I/O", file, imp, pkg)
	}
	in, ok := strings.CutPrefix(imp, "sotto/")
	from, to := slices.Index(layers, pkg), slices.Index(layers, in)
	switch {
	case !ok, measures(pkg):
	case from < 0 && pkg != ".":
		t.Errorf("%s: package %s has no place in the architecture", file, pkg)
	case to < 0:
		t.Errorf("%s imports %s, which has no place in the architecture", file, imp)
	case !test && to <= from:
		t.Errorf("%s imports %s against the arrows", file, imp)
	}
}

// measures says that a package looks at the whole from outside: it imports
// what it needs, and nobody imports it.
func measures(pkg string) bool {
	return pkg == "e2e" || pkg == "bench" || strings.HasPrefix(pkg, "bench/")
}
