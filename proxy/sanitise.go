package proxy

import (
	"strings"

	"sotto/store"
)

// maxSanitised bounds what an owner reads of a caller, in characters (clients.md §3).
const maxSanitised = 128

// sanitise makes an address of record that a stranger wrote fit for the eyes
// of an owner, who reads it in a notice, a list or a terminal: ASCII, at most
// maxSanitised characters, only those that stand in an address. What is not is
// shown as "?". Slash and colon are not: no phone takes the rest for a link to
// a page. Nothing at all is store.Anonymous.
func sanitise(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == maxSanitised {
			break
		}
		if !inAddress(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	if strings.Trim(b.String(), "?@") == "" {
		return store.Anonymous
	}
	return b.String()
}

// inAddress says that r may stand in an address that an owner reads.
func inAddress(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return true
	}
	return strings.ContainsRune("-_.+@~*#", r)
}
