package resolve

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone is a name server's, and how often it was asked.
type zone struct {
	records []string
	asked   atomic.Int64
}

// ServeDNS implements dns.Handler.
func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.asked.Add(1)
	res := new(dns.Msg)
	res.SetReply(q)
	known := false
	for _, text := range z.records {
		rr, err := dns.NewRR(text)
		if err != nil || !strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
			continue
		}
		known = true
		if rr.Header().Rrtype == q.Question[0].Qtype {
			res.Answer = append(res.Answer, rr)
		}
	}
	if !known {
		res.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(res) // a client that has gone asks again
}

// serve runs a name server on loopback.
func serve(t *testing.T, records ...string) (*zone, *Resolver) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z, up := &zone{records: records}, make(chan struct{})
	s := &dns.Server{PacketConn: c, Handler: z, NotifyStartedFunc: func() { close(up) }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ActivateAndServe() // Shutdown ends it
	}()
	<-up
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return z, New(c.LocalAddr().String())
}

// resolved is what a query finds, each as transport:address.
func resolved(t *testing.T, r *Resolver, q Query) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found, err := r.Resolve(ctx, q)
	var all []string
	for _, d := range found {
		all = append(all, d.Transport+":"+d.Addr.String())
	}
	return all, err
}

// example is a domain that says all that one can say.
var example = []string{
	`example.com. 60 IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.example.com.`,
	`example.com. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.example.com.`,
	`example.com. 60 IN NAPTR 5 10 "s" "E2U+email" "" mail.example.com.`,
	`_sips._tcp.example.com. 60 IN SRV 20 0 5061 b.example.com.`,
	`_sips._tcp.example.com. 60 IN SRV 10 0 5071 a.example.com.`,
	`_sip._udp.example.com. 60 IN SRV 10 0 5060 a.example.com.`,
	`_sip._tcp.example.com. 60 IN SRV 10 0 5060 a.example.com.`,
	`a.example.com. 60 IN A 192.0.2.1`,
	`b.example.com. 60 IN AAAA 2001:db8::2`,
	`example.com. 60 IN A 192.0.2.9`,
	`_sip._udp.srv.example. 60 IN SRV 10 0 5066 a.example.com.`,
	`_sip._udp.srv.example. 60 IN SRV 5 0 0 b.example.com.`,
	`plain.example. 60 IN A 192.0.2.7`,
}

func TestResolve(t *testing.T) {
	_, r := serve(t, example...)
	for name, c := range map[string]struct {
		q    Query
		want []string
	}{
		"NAPTR orders the services, SRV the servers": {
			Query{Host: "example.com"},
			[]string{"tls:192.0.2.1:5071", "tls:[2001:db8::2]:5061", "udp:192.0.2.1:5060"},
		},
		"case and a trailing dot": {Query{Host: "EXAMPLE.com.", Transport: "udp"}, []string{"udp:192.0.2.1:5060"}},
		"a transport that NAPTR does not name": {
			Query{Host: "example.com", Transport: "tcp"}, []string{"tcp:192.0.2.9:5060"},
		},
		"sips wants TLS": {
			Query{Host: "example.com", Secure: true}, []string{"tls:192.0.2.1:5071", "tls:[2001:db8::2]:5061"},
		},
		"a port leaves no choice": {Query{Host: "example.com", Port: 5099}, []string{"udp:192.0.2.9:5099"}},
		"SRV, one without a port": {Query{Host: "srv.example"}, []string{"udp:192.0.2.1:5066"}},
		"a host alone":            {Query{Host: "plain.example"}, []string{"udp:192.0.2.7:5060"}},
		"a host alone, by TLS":    {Query{Host: "plain.example", Transport: "tls"}, []string{"tls:192.0.2.7:5061"}},
	} {
		if got, err := resolved(t, r, c.q); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
}

// Answers are remembered, and so is it that there was none.
func TestResolveRemembers(t *testing.T) {
	z, r := serve(t, example...)
	for _, host := range []string{"example.com", "nowhere.example"} {
		_, first := resolved(t, r, Query{Host: host})
		asked := z.asked.Load()
		_, again := resolved(t, r, Query{Host: host})
		if z.asked.Load() != asked || (first == nil) != (again == nil) {
			t.Errorf("%s was asked for again; %v, then %v", host, first, again)
		}
	}
	if _, err := resolved(t, r, Query{Host: "nowhere.example"}); err == nil {
		t.Error("a domain that does not exist was found")
	}
}

// What is remembered and what is found have their bounds.
func TestResolveIsBounded(t *testing.T) {
	var many []string
	for i := range 30 {
		many = append(many, "many.example. 60 IN A 192.0.2."+string(rune('0'+i/10))+string(rune('0'+i%10)))
	}
	_, r := serve(t, many...)
	if got, err := resolved(t, r, Query{Host: "many.example"}); err != nil || len(got) != maxFound {
		t.Errorf("%d destinations, %v", len(got), err)
	}
	for i := range maxCached + 10 {
		r.keep(Query{Port: i}, nil, ErrNotFound)
	}
	if n := len(r.cache); n > maxCached {
		t.Errorf("%d are remembered", n)
	}
}

// A name server that does not answer costs no more than the caller allows,
// and is not remembered.
func TestResolveGivesUp(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0") // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r := New(c.LocalAddr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = r.Resolve(ctx, Query{Host: "example.com"})
	if err == nil || errors.Is(err, ErrNotFound) && ctx.Err() == nil {
		t.Errorf("%v", err)
	}
	if len(r.cache) != 0 {
		t.Error("that there was no answer is remembered as an answer")
	}
}
