// Package receipt says what each party of a protected call saw of the other.
// It is no account of what the proxy meant to do: the bytes that were sent to a
// party, of every message and of RTCP that was relayed, are searched for what
// is known of the other one, in every form. What is known is forgotten with
// the call; the receipt keeps kinds and counts, never a value.
package receipt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Leg is a party of a call.
type Leg uint8

// The legs.
const (
	Caller Leg = iota
	Callee
)

func (l Leg) other() Leg { return Callee - l }

// String is "caller" or "callee".
func (l Leg) String() string {
	if l == Caller {
		return "caller"
	}
	return "callee"
}

// Kind is what a fact is about.
type Kind uint8

// The kinds of facts.
const (
	Address Kind = iota
	Host
	Port
	Device // User-Agent and its like
	Instance
	CallID
	Tag
	Name // of its RTCP, session or stream
	kinds
)

// kindNames are singular and plural.
var kindNames = [kinds][2]string{
	Address: {"address", "addresses"}, Host: {"host name", "host names"}, Port: {"port", "ports"},
	Device: {"device text", "device texts"}, Instance: {"device ID", "device IDs"},
	CallID: {"Call-ID", "Call-IDs"}, Tag: {"tag", "tags"}, Name: {"name in SDP", "names in SDP"},
}

// String names one fact of the kind.
func (k Kind) String() string { return kindNames[k][0] }

// A Fact is something that a party's messages told the proxy, and that is
// nobody else's business.
type Fact struct {
	Kind Kind
	Text string
}

// A Receipt is what is noted of one call. It is safe for concurrent use.
type Receipt struct {
	book *Book
	ref  string
	open string

	mu   sync.Mutex
	legs [2]noted // by who received

	known [2]dossier // the book's goroutine's alone
}

// isOpen says that a text is no secret between the parties. Phones write whom
// they are with a scheme and a port, too: baresip's name in RTCP is the URI that
// was called.
func (r *Receipt) isOpen(text string) bool {
	text = strings.ToLower(text)
	text = strings.TrimPrefix(strings.TrimPrefix(text, "sip:"), "sips:")
	if i := strings.LastIndexByte(text, ':'); i > strings.IndexByte(text, '@') && strings.Contains(text, "@") {
		if _, err := strconv.ParseUint(text[i+1:], 10, 16); err == nil {
			text = text[:i]
		}
	}
	return strings.Contains(r.open, text)
}

// noted is what one party received of the other. All of it is bounded: facts
// are counted by kind, the lists by most.
type noted struct {
	messages, reports int
	unsearched        int           // there was no time for them
	secret            int           // reports that are encrypted end to end
	facts             [kinds]int    // of the other party, by the last search
	unsearchable      [kinds]int    // that both parties or the server share
	found             map[place]int // which is to be nothing
	samePorts         int           // numbers of the other's ports that the server wrote, too
	addresses         []string
	codecs            []string
	names             []string
}

// A place is where a fact of a kind was found.
type place struct {
	kind      Kind
	in, where string
}

const (
	// most bounds each list of what was seen; a call that has more codecs, or
	// addresses of ours, than that is cut short.
	most = 12
	// maxPlaces bounds in how many places findings are told apart.
	maxPlaces = 32
)

// add puts what is new into a list that has room.
func add(list []string, texts ...string) []string {
	for _, t := range texts {
		if t != "" && len(list) < most && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// Lines says what each party saw of the other, for the owners of the call.
func (r *Receipt) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, to := range []Leg{Callee, Caller} {
		if n := &r.legs[to]; n.messages+n.reports > 0 {
			lines = append(lines, n.lines(to)...)
		}
	}
	return lines
}

// Found is how often a fact was found where it must not be.
func (r *Receipt) Found() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, leg := range r.legs {
		for _, times := range leg.found {
			n += times
		}
	}
	return n
}

// lines is the receipt of one party.
func (n *noted) lines(to Leg) []string {
	from := to.other()
	head := fmt.Sprintf("the %s saw of the %s, in %s", to, from, counted(n.messages, "message", "messages"))
	if n.reports > 0 {
		head += " and " + counted(n.reports, "RTCP report", "RTCP reports")
	}
	lines := []string{head + " sent to it:"}
	for _, p := range slices.SortedFunc(maps.Keys(n.found), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.in, b.in), cmp.Compare(a.where, b.where))
	}) {
		lines = append(lines, fmt.Sprintf("  LEAKED: the %s's %s, in %s, %s: %s",
			from, p.kind, p.in, p.where, counted(n.found[p], "time", "times")))
	}
	lines = append(lines, "  "+n.saw())
	if not := n.not(); not != "" {
		lines = append(lines, "  not: "+not)
	}
	if shared := listed(n.unsearchable); shared != "" {
		lines = append(lines, "  not searched for, since both or this server have the same: "+shared)
	}
	if n.samePorts > 0 {
		lines = append(lines, fmt.Sprintf(
			"  but of the ports %d had a number that the server's own, which are random, had too", n.samePorts))
	}
	if n.unsearched > 0 {
		lines = append(lines, fmt.Sprintf("  not searched, as the server was busy: %d of these", n.unsearched))
	}
	if n.secret > 0 {
		lines = append(lines, "  not searched, as they are encrypted end to end: "+counted(n.secret, "report", "reports"))
	}
	return lines
}

// saw are the addresses, codecs and names that were sent.
func (n *noted) saw() string {
	var parts []string
	for _, p := range []struct {
		what string
		list []string
	}{{"address", n.addresses}, {"codecs", n.codecs}, {"name", n.names}} {
		text := "none"
		if len(p.list) > 0 {
			text = strings.Join(p.list, ", ")
		}
		parts = append(parts, p.what+": "+text)
	}
	return strings.Join(parts, "; ")
}

// not are the facts that were searched for and not found.
func (n *noted) not() string {
	clean := n.facts
	for p := range n.found {
		clean[p.kind] = 0
	}
	return listed(clean)
}

// listed writes how many there are of each kind.
func listed(all [kinds]int) string {
	var parts []string
	for k, count := range all {
		if count > 0 {
			parts = append(parts, counted(count, kindNames[k][0], kindNames[k][1]))
		}
	}
	return strings.Join(parts, ", ")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
