package leak

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A Leak is a marker found where it must not be.
type Leak struct {
	Marker string
	Form   string
	At     int // offset in the data

	// Noise says that four octets of noise can be it: once in a gigabyte or so they are.
	Noise bool
}

// String says what was found and where.
func (l Leak) String() string {
	return fmt.Sprintf("%q as %s at offset %d", l.Marker, l.Form, l.At)
}

// Find searches data for every form of every marker.
func Find(data []byte, markers ...string) []Leak { return NewSearch(markers...).Find(data) }

// A Search looks for every form of some markers in one pass over the data,
// however many they are. It is safe for concurrent use.
type Search struct {
	patterns []pattern
	exact    table // by their first four octets
	folded   table
}

// A pattern is a form of a marker.
type pattern struct {
	marker string
	form   Form
	noise  bool // see Leak
}

// A table finds patterns by the four octets that they begin with; no form is shorter.
type table struct {
	filter [filterSize / 64]uint64 // what is not in here is not in the map
	at     map[uint32][]int
}

const filterSize = 1 << 12

// NewSearch makes a search for every form of the markers.
func NewSearch(markers ...string) *Search { return newSearch(markers, false) }

// NewCertain is NewSearch for who raises an alarm: forms that noise can be, and
// in a year of sealed identifiers will be, count only where they stand alone,
// or not at all.
func NewCertain(markers ...string) *Search { return newSearch(markers, true) }

func newSearch(markers []string, certain bool) *Search {
	s := &Search{exact: table{at: map[uint32][]int{}}, folded: table{at: map[uint32][]int{}}}
	for _, m := range markers {
		for _, f := range Forms(m) {
			noise := f.chance && f.digits == ""
			if certain && noise {
				continue
			}
			f.chance = certain && f.chance
			s.add(pattern{m, f, noise})
		}
	}
	return s
}

func (s *Search) add(p pattern) {
	t := &s.exact
	if p.form.Fold {
		t, p.form.Text = &s.folded, lower(p.form.Text)
	}
	t.put(binary.BigEndian.Uint32(p.form.Text), len(s.patterns))
	s.patterns = append(s.patterns, p)
}

func (t *table) put(begin uint32, i int) {
	h := hash(begin)
	t.filter[h/64] |= 1 << (h % 64)
	t.at[begin] = append(t.at[begin], i)
}

// hash spreads four octets over the filter (Knuth's multiplicative method).
func hash(w uint32) uint32 { return w * 2654435761 >> 20 }

// Find returns the first place of each form that is in data.
func (s *Search) Find(data []byte) []Leak {
	places := map[int]int{}
	low := lower(data)
	s.pass(&s.exact, data, places)
	s.pass(&s.folded, low, places)
	found := make([]Leak, 0, len(places))
	for _, i := range sorted(places) {
		p := &s.patterns[i]
		found = append(found, Leak{Marker: p.marker, Form: p.form.Name, At: places[i], Noise: p.noise})
	}
	return found
}

func sorted(places map[int]int) []int {
	all := make([]int, 0, len(places))
	for i := range places {
		all = append(all, i)
	}
	slices.Sort(all)
	return all
}

// pass goes once over data, and notes where the patterns of a table begin.
func (s *Search) pass(t *table, data []byte, places map[int]int) {
	if len(t.at) == 0 {
		return
	}
	var w uint32
	for end, c := range data {
		w = w<<8 | uint32(c)
		if h := hash(w); end < 3 || t.filter[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, i := range t.at[w] {
			if _, had := places[i]; !had && s.patterns[i].form.is(data, end-3) {
				places[i] = end - 3
			}
		}
	}
}

// is says that the form stands at a place.
func (f *Form) is(data []byte, at int) bool {
	end := at + len(f.Text)
	if end > len(data) || string(data[at:end]) != string(f.Text) {
		return false
	}
	var before, after byte
	if at > 0 {
		before = data[at-1]
	}
	if end < len(data) {
		after = data[end]
	}
	if f.chance && (strings.IndexByte(f.digits, before) >= 0 || strings.IndexByte(f.digits, after) >= 0) {
		return false
	}
	return (f.before == "" || at > 0 && strings.IndexByte(f.before, before) >= 0) &&
		(f.after == "" || end < len(data) && strings.IndexByte(f.after, after) >= 0)
}

// lower is data with the letters of ASCII in lower case, at the same places.
func lower(data []byte) []byte {
	low := slices.Clone(data)
	for i, c := range low {
		if 'A' <= c && c <= 'Z' {
			low[i] = c + 'a' - 'A'
		}
	}
	return low
}
