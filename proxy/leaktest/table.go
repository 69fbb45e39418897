package leaktest

import (
	"cmp"
	"slices"
	"strings"

	"sotto/proxy/leak"
)

// A Row is a place where something leaked, and what was found there of each
// of the two: Of[0] of the first account, by the second.
type Row struct {
	Kind  Kind
	Place string
	Of    [2][]string
	Plays int // in how many plays
}

// Kind is what a place belongs to.
type Kind string

// The kinds, in the order in which a table has them.
const (
	Header Kind = "header"
	SDP    Kind = "SDP"
	Body   Kind = "body" // of another kind
	RTCP   Kind = "RTCP"
	Packet Kind = "packet"
)

var kinds = []Kind{Header, SDP, Body, RTCP, Packet}

// Table has a row for each place where anything leaked, in any of the plays.
func Table(plays []Play) []Row {
	var rows []Row
	for _, p := range plays {
		here := map[int]bool{}
		for receiver, found := range p.Found {
			for _, f := range found {
				var i int
				rows, i = note(rows, f, 1-receiver)
				here[i] = true
			}
		}
		for i := range here {
			rows[i].Plays++
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Place, b.Place))
	})
	return rows
}

// note puts a finding into the row of its place, and says which that is.
func note(rows []Row, f leak.Finding, of int) ([]Row, int) {
	k, place := kindOf(f.In, f.Where)
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Kind == k && r.Place == place })
	if i < 0 {
		i = len(rows)
		rows = append(rows, Row{Kind: k, Place: place})
	}
	list := &rows[i].Of[of]
	if what := What(f.Marker); !slices.Contains(*list, what) {
		*list = append(*list, what)
		slices.Sort(*list)
	}
	return rows, i
}

// kindOf is what a place belongs to, and how a table names it.
func kindOf(in, where string) (Kind, string) {
	switch {
	case where == "source address":
		return Packet, "source address of " + in
	case in == "RTCP":
		return RTCP, where
	case in == "RTP":
		return Packet, "RTP"
	case strings.HasPrefix(where, "SDP "):
		return SDP, strings.TrimPrefix(where, "SDP ")
	case where == "body", where == "the message as a whole":
		return Body, "body of " + in
	}
	return Header, where
}

// Count is how many rows there are of a kind.
func Count(rows []Row, k Kind) int {
	n := 0
	for _, r := range rows {
		if r.Kind == k {
			n++
		}
	}
	return n
}
