package receipt

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sotto/proxy/leak"
)

// A dossier is what is known of one party while its call lasts.
type dossier struct {
	facts  []Fact
	ports  []string        // that are searched for
	kinds  map[string]Kind // by text
	search *leak.Search    // nil: to be made anew
	count  [kinds]int      // that are searched for
	shared [kinds]int      // that cannot be: the other party or the server has the same
}

const (
	// maxFacts bounds a dossier: a phone with five devices' worth of addresses
	// and candidates has half of that (ours).
	maxFacts = 48
	// shortest is how long a text must be to be told from noise; an address is
	// always searched for.
	shortest = 6
)

// learn notes what is told, each fact once, and says whether any is new.
// What it says of the server itself, as in a route, is none.
func (d *dossier) learn(t Told, public func(string) bool) bool {
	had := len(d.facts)
	said := append(addressesIn(t.Head), described(t.SDP)...)
	said = slices.DeleteFunc(said, func(f Fact) bool { return public(f.Text) })
	for _, f := range append(t.Facts, said...) {
		if len(d.facts) < maxFacts && (f.Kind == Address || f.Kind == Port || len(f.Text) >= shortest) &&
			!slices.Contains(d.facts, f) {
			d.facts = append(d.facts, f)
		}
	}
	return len(d.facts) > had
}

// described are the facts in a session description: addresses and ports
// anywhere, and the texts in which phones tell a name.
func described(sdp string) []Fact {
	var all []Fact
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		all = append(all, addressesIn(line)...)
		switch {
		case len(line) < 3 || line[1] != '=':
		case line[0] == 'o' && len(fields) == 6:
			all = append(all, Fact{Name, fields[0][2:]})
		case line[0] == 'i':
			all = append(all, Fact{Name, line[2:]})
		case strings.HasPrefix(line, "a=tool:"):
			all = append(all, Fact{Name, line[len("a=tool:"):]})
		case strings.HasPrefix(line, "a=ssrc:") && strings.Contains(line, "cname:"):
			_, cname, _ := strings.Cut(line, "cname:")
			all = append(all, Fact{Name, cname})
		case line[0] == 'm' && len(fields) > 1:
			all = append(all, Fact{Port, fields[1]})
		}
	}
	return all
}

// searchFor is the search for what the other party must not know. Of ports
// there is none: a number is searched for where ports stand, see ports.
func (d *dossier) searchFor(other *dossier, public func(string) bool) *leak.Search {
	if d.search != nil {
		return d.search
	}
	d.count, d.shared, d.kinds, d.ports = [kinds]int{}, [kinds]int{}, map[string]Kind{}, nil
	var markers []string
	for _, f := range d.facts {
		switch {
		case f.Kind == Port && (public(f.Text) || slices.Contains(other.facts, f)): // such as 5060
		case f.Kind == Port:
			d.ports = append(d.ports, f.Text)
			d.count[Port]++
		case public(f.Text) || slices.Contains(other.facts, f):
			d.shared[f.Kind]++
		default:
			markers = append(markers, f.Text)
			d.kinds[f.Text] = f.Kind
			d.count[f.Kind]++
		}
	}
	d.search = leak.NewCertain(markers...)
	return d.search
}

// portsIn is how many of the party's ports are in a message, where ports stand:
// behind a colon, or in an m= line. The server's own may be the same by
// chance, so this is told, but is no alarm.
func (d *dossier) portsIn(raw []byte) int {
	n := 0
	for _, port := range d.ports {
		if atPort(raw, port) {
			n++
		}
	}
	return n
}

func atPort(raw []byte, port string) bool {
	for from := 0; ; {
		at := bytes.Index(raw[from:], []byte(port))
		if at < 0 {
			return false
		}
		at += from
		from = at + 1
		before, after := raw[:at], raw[at+len(port):]
		if len(after) > 0 && strings.IndexByte(" ;>\r/", after[0]) >= 0 && (bytes.HasSuffix(before, []byte(":")) ||
			bytes.HasSuffix(before, []byte("m=audio ")) || bytes.HasSuffix(before, []byte("m=video "))) {
			return true
		}
	}
}

// searched is the part of a message that must not tell: all of it, but for a
// text that a person wrote to the other.
func searched(raw []byte) []byte {
	head, _, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if ok && bytes.Contains(bytes.ToLower(head), []byte("\r\ncontent-type: text/plain")) {
		return raw[:len(head)+4]
	}
	return raw
}

// see notes which addresses, codecs and names a message showed.
func (n *noted) see(raw []byte, to *dossier) {
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	request := !bytes.HasPrefix(head, []byte("SIP/2.0 "))
	for line := range strings.Lines(string(head)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case strings.EqualFold(name, "From") && request:
			n.names = add(n.names, shown(value))
		case strings.EqualFold(name, "Contact"), strings.EqualFold(name, "Via") && request:
			n.addresses = add(n.addresses, others(value, to)...)
		}
	}
	for line := range strings.Lines(string(body)) {
		n.seeSDP(strings.TrimSpace(line), to)
	}
}

// seeSDP notes what a line of a description showed.
func (n *noted) seeSDP(line string, to *dossier) {
	switch {
	case strings.HasPrefix(line, "c="), strings.HasPrefix(line, "a=candidate:"):
		n.addresses = add(n.addresses, others(line, to)...)
	case strings.HasPrefix(line, "m=audio "), strings.HasPrefix(line, "m=video "):
		for _, pt := range strings.Fields(line)[1:] {
			n.codecs = add(n.codecs, static[pt])
		}
	case strings.HasPrefix(line, "a=rtpmap:"):
		_, codec, _ := strings.Cut(line, " ")
		codec, _, _ = strings.Cut(codec, "/")
		n.codecs = add(n.codecs, printable(codec))
	}
}

// static are the payload types that need no rtpmap (RFC 3551 §6).
var static = map[string]string{"0": "PCMU", "3": "GSM", "8": "PCMA", "9": "G722", "18": "G729"}

// others are the addresses in a text that are not the receiver's own.
func others(text string, to *dossier) []string {
	var all []string
	for _, f := range addressesIn(text) {
		if !slices.Contains(to.facts, f) {
			all = append(all, f.Text)
		}
	}
	return all
}

// addressesIn are the addresses that are written in a text.
func addressesIn(text string) []Fact {
	var all []Fact
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdefABCDEF.:", r)
	}) {
		if word = strings.TrimRight(word, ".:"); !strings.HasPrefix(word, "::") {
			word = strings.TrimLeft(word, ":") // of sip:192.0.2.1
		}
		a, err := netip.ParseAddr(word)
		if err != nil {
			at, err := netip.ParseAddrPort(word)
			if err != nil {
				continue
			}
			a = at.Addr()
		}
		all = append(all, Fact{Address, a.Unmap().String()})
	}
	return all
}

// shown is the name and address in From, as far as a terminal may have it.
func shown(from string) string {
	name, uri, ok := strings.Cut(from, "<")
	if !ok {
		uri = from
	}
	uri, _, _ = strings.Cut(uri, ">")
	uri, _, _ = strings.Cut(strings.TrimSpace(uri), ";")
	return printable(strings.TrimSpace(strings.TrimSpace(name) + " " + uri))
}

// printable is a text without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
