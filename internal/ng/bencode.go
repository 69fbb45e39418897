package ng

import (
	"bytes"
	"errors"
	"strconv"
)

var errBencode = errors.New("not bencode")

// maxDepth bounds lists within lists (ours: an answer to query has four).
const maxDepth = 10

// decode reads a dictionary, of which it returns the values that are strings.
func decode(b []byte) (map[string]string, error) {
	if len(b) == 0 || b[0] != 'd' {
		return nil, errBencode
	}
	found := map[string]string{}
	for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
		key, rest, ok := cutText(b)
		if !ok {
			return nil, errBencode
		}
		value, after, isText := cutText(rest)
		if isText {
			found[key] = value
		} else if after, ok = skip(rest, maxDepth); !ok {
			return nil, errBencode
		}
		b = after
	}
	if len(b) != 1 {
		return nil, errBencode // no end, or more after it
	}
	return found, nil
}

// cutText cuts a string off: its length, a colon and so many bytes.
func cutText(b []byte) (s string, rest []byte, ok bool) {
	digits, rest, ok := bytes.Cut(b, []byte(":"))
	if !ok {
		return "", nil, false
	}
	n, err := strconv.ParseUint(string(digits), 10, 16)
	if err != nil || int(n) > len(rest) {
		return "", nil, false
	}
	return string(rest[:n]), rest[n:], true
}

// skip cuts off a value of any type.
func skip(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth == 0 {
		return nil, false
	}
	switch b[0] {
	case 'i':
		_, rest, ok = bytes.Cut(b, []byte("e"))
		return rest, ok
	case 'd', 'l': // keys are values, too
		b = b[1:]
		for len(b) > 0 && b[0] != 'e' {
			if b, ok = skip(b, depth-1); !ok {
				return nil, false
			}
		}
		if len(b) == 0 {
			return nil, false
		}
		return b[1:], true
	}
	_, rest, ok = cutText(b)
	return rest, ok
}
