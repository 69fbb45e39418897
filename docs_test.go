package sotto

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/rfc.md names functions and tests; all of them are there.
func TestRFCTable(t *testing.T) {
	text, err := os.ReadFile("docs/rfc.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "## Deliberately not done")
	declared := declarations(t)
	names := regexp.MustCompile("`([A-Za-z0-9/_.]+)`").FindAllStringSubmatch(table, -1)
	if len(names) < 150 {
		t.Fatalf("only %d names in the table", len(names))
	}
	for _, m := range names {
		name := m[1]
		if name == "package.function" || name == "package.Type.method" || name == "docs_test.go" {
			continue
		}
		if !declared[name] {
			t.Errorf("%s is in the table, and nowhere else", name)
		}
	}
}

// declarations are all functions, as the table names them: package.function,
// package.Type.method, and tests and fuzz targets by their name alone.
func declarations(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				all[nameOf(path.Dir(filepath.ToSlash(file)), fn)] = true
				all[fn.Name.Name] = all[fn.Name.Name] || strings.HasSuffix(file, "_test.go")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// nameOf is a function's name with its package, and its receiver's type.
func nameOf(pkg string, fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return pkg + "." + fn.Name.Name
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	if !ok {
		return pkg + "." + fn.Name.Name
	}
	return pkg + "." + id.Name + "." + fn.Name.Name
}
