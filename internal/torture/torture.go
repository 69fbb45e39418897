// Package torture reads the messages of RFC 4475 and RFC 5118 that stand in
// testdata, for the tests of the parser and of the whole server.
package torture

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// Read reads a message of testdata, which is text: its lines end with CRLF, but
// not those that end with a backslash; \xNN is a byte, \\ a backslash. A file
// that is none ends the test.
func Read(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := strings.ReplaceAll(strings.ReplaceAll(string(text), "\\\n", ""), "\n", "\r\n")
	var out []byte
	for len(s) > 0 {
		if s[0] != '\\' {
			out, s = append(out, s[0]), s[1:]
			continue
		}
		c, _, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			t.Fatalf("%s: %v at %q", file, err, s[:min(len(s), 10)])
		}
		out, s = append(out, byte(c)), rest
	}
	return out
}
