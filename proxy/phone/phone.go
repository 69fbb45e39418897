// Package phone is a scripted softphone: it registers, calls, answers, holds,
// transfers, sends and recognises tones, and keeps every byte that it received.
// Tests run it on a network in memory and a fake clock, `sotto try --demo` on
// real sockets.
//
// The API is straight-line: each method does one thing that a person would do
// with a phone and returns when it is done, or when its context is.
//
//	p, err := phone.New(phone.Config{User: "alice", …})
//	_, err = p.Register(ctx)
//	call, err := p.Call(ctx, "sip:bob@example.com", phone.Header("Privacy-Token", tok))
//	call.Tone(440)
//	err = call.Hears(ctx, 880)
//	err = call.Bye(ctx)
//
// A phone is no user agent to build a product on. It speaks PCMU only, answers
// by itself what a script does not care about, and does as told where a real
// one would know better: that is how it can carry markers in every header.
package phone

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/proxy/flow"
	"sotto/proxy/txn"
)

// Config is one phone: its account, its place in the network, and what it
// tells about itself. Only User, Domain and Local are needed.
type Config struct {
	User, Domain, Password string
	Display                string // display name

	Network    flow.Network   // nil: the real one
	Local      netip.AddrPort // address of its sockets; port 0 picks one
	Server     netip.AddrPort // its proxy; zero: it calls addresses directly
	ServerName string         // in the proxy's certificate
	Transport  string         // udp (default), tcp or tls
	TLS        *tls.Config    // RootCAs that it trusts; Certificates to be called directly
	T1, T2, T4 time.Duration  // of RFC 3261 §17; zero: the usual ones
	Log        *slog.Logger   // nil: none

	Digest   string // "MD5" or "SHA-256": the only algorithm it knows; "": the best offered
	Instance string // +sip.instance, such as urn:uuid:…; "": none
	RegID    int    // reg-id beside it; 0: 1
	Contact  string // URI in Contact; "": user, own address, transport

	Headers    []Field // further headers of every request and response
	CallIDHost string  // after @ in its Call-IDs; "": no @
	TagPrefix  string  // of its tags
	SDP        SDP     // further lines of its SDP bodies

	CNAME     string        // in RTCP SDES; "": user@local address
	SDES      []SDESItem    // further items
	Goodbye   string        // reason in RTCP BYE
	RTCPEvery time.Duration // default 5 s
	RTCPMux   bool          // offers and takes RTP and RTCP on one port (RFC 5761)
	Mute      bool          // sends no RTP unless it has a tone or a digit to send
}

// Field is a header of a message.
type Field struct{ Name, Value string }

// ErrClosed is returned by methods of a phone that was closed.
var ErrClosed = errors.New("phone is closed")

// Phone is a running softphone. Its methods are safe for concurrent use. It
// must be closed.
type Phone struct {
	cfg   Config
	net   *tapNetwork
	mux   *flow.Mux
	layer *txn.Layer
	local netip.AddrPort
	rec   *recorder
	ready chan struct{} // closed when local is known; nothing is handled before
	done  chan struct{}

	// What follows belongs to the layer's only worker; see do.
	waiters  []*waiter
	calls    map[string]*Call // by Call-ID and our tag
	incoming []*Call
	heard    []*sip.Request    // outside of calls
	refusals map[string]int    // method → code
	subs     map[string]string // Call-IDs of our subscriptions → our tag
	tells    map[string]bool   // event packages of which it tells who subscribes
	watchers []*Watcher        // who did
	auth     credentials
	regID    string // Call-ID of our REGISTERs
	regSeq   uint32
	contacts []string // as last registered
	media    []*Media
}

// New opens a phone's sockets. Over TLS without a certificate of its own, and
// over TCP behind a NAT, it can be reached only through its server.
func New(c Config) (*Phone, error) {
	if c.Transport == "" {
		c.Transport = "udp"
	}
	if c.RTCPEvery == 0 {
		c.RTCPEvery = 5 * time.Second
	}
	p := &Phone{
		cfg: c, rec: newRecorder(), done: make(chan struct{}), ready: make(chan struct{}), local: c.Local,
		calls: map[string]*Call{}, refusals: map[string]int{}, subs: map[string]string{}, tells: map[string]bool{},
		regID: newCallID(c),
	}
	p.auth = credentials{user: c.User, password: c.Password, only: c.Digest}
	p.net = &tapNetwork{inner: c.Network, rec: p.rec, opaque: c.Transport == "tls"}
	p.layer = txn.New(txn.Config{
		Handler: server{p}, Workers: 1, Log: c.Log, T1: c.T1, T2: c.T2, T4: c.T4,
	})
	p.mux = flow.New(flow.Config{
		Network: p.net, TLS: c.TLS, Log: c.Log, Handler: ear{p},
		Limits: flow.Limits{SocketBuffer: 1 << 18},
		Needed: func(*flow.Flow) bool { return true }, // it leaves it to the server to hang up
	})
	err := p.listen()
	close(p.ready)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("opening phone of %s: %w", c.User, err)
	}
	return p, nil
}

func (p *Phone) listen() error {
	if p.cfg.Transport == "tls" && (p.cfg.TLS == nil || len(p.cfg.TLS.Certificates) == 0) {
		return nil
	}
	at, err := p.mux.Listen(p.cfg.Transport, p.cfg.Local)
	if err == nil {
		p.local = at
	}
	return err
}

// Close hangs up without a word and closes all sockets. It may be called
// again.
func (p *Phone) Close() {
	select {
	case <-p.done:
		return
	default:
	}
	var media []*Media
	_ = p.do(func() { media, p.media = p.media, nil }) // a full queue: sockets are closed below
	close(p.done)
	for _, m := range media {
		m.close()
	}
	p.layer.Close()
	p.mux.Close()
}

// URI is the phone's address of record as a URI.
func (p *Phone) URI() string { return "sip:" + p.cfg.User + "@" + p.cfg.Domain }

// Local is where the phone takes SIP.
func (p *Phone) Local() netip.AddrPort { return p.local }

// do runs fn on the worker and returns when it has run.
func (p *Phone) do(fn func()) error {
	select {
	case <-p.done:
		return ErrClosed
	default:
	}
	ran := make(chan struct{})
	err := p.layer.Do("", func() {
		defer close(ran)
		fn()
		p.check()
	})
	if err != nil {
		return err
	}
	select {
	case <-ran:
		return nil
	case <-p.done:
		return ErrClosed
	}
}

// A waiter waits for something to become true on the worker.
type waiter struct {
	true func() bool
	done chan struct{}
}

// await returns once cond, which is run on the worker, is true. The error is
// the context's, with what was waited for.
func (p *Phone) await(ctx context.Context, what string, cond func() bool) error {
	w := &waiter{true: cond, done: make(chan struct{})}
	if err := p.do(func() { p.waiters = append(p.waiters, w) }); err != nil {
		return err
	}
	select {
	case <-w.done:
		return nil
	case <-p.done:
		return ErrClosed
	case <-ctx.Done():
		_ = p.do(func() { p.drop(w) }) // a closed phone has no waiters
		return fmt.Errorf("%s: waiting for %s: %w", p.cfg.User, what, ctx.Err())
	}
}

func (p *Phone) drop(w *waiter) {
	for i, o := range p.waiters {
		if o == w {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return
		}
	}
}

// check wakes those whose condition has become true, each in its turn: what
// one has taken the next does not see.
func (p *Phone) check() {
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if w.true() {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiters[len(kept):])
	p.waiters = kept
}

// flowTo finds the way to a URI: an address is used as it is, everything else
// is the proxy's to find.
func (p *Phone) flowTo(uri sip.Uri) (*flow.Flow, error) {
	host, err := netip.ParseAddr(uri.Host)
	if err != nil || host == p.cfg.Server.Addr() {
		if !p.cfg.Server.IsValid() {
			return nil, fmt.Errorf("no server to ask for %s", uri.Host)
		}
		return p.mux.To(p.cfg.Transport, p.cfg.Server, p.cfg.ServerName)
	}
	transport, ok := uri.UriParams.Get("transport")
	if !ok {
		transport = p.cfg.Transport
	}
	port := uri.Port
	if port == 0 {
		port = sip.DefaultPort(transport)
	}
	return p.mux.To(transport, netip.AddrPortFrom(host, uint16(port)), p.cfg.ServerName)
}

// KeepAlive sends the double CRLF of RFC 5626 §4.4.1 to the server.
func (p *Phone) KeepAlive() error {
	f, err := p.mux.To(p.cfg.Transport, p.cfg.Server, p.cfg.ServerName)
	if err != nil {
		return err
	}
	return f.Send([]byte("\r\n\r\n"))
}

// Send sends bytes of any kind to the server, as one datagram or as they are.
func (p *Phone) Send(b []byte) error {
	f, err := p.mux.To(p.cfg.Transport, p.cfg.Server, p.cfg.ServerName)
	if err != nil {
		return err
	}
	return f.Send(b)
}

// Drop closes the connections to the server as a failing network would. Over
// UDP it does nothing.
func (p *Phone) Drop() error {
	f, err := p.mux.To(p.cfg.Transport, p.cfg.Server, p.cfg.ServerName)
	if err == nil {
		f.Close("dropped by the script")
	}
	return err
}

// ear takes what the flows bring and notes it.
type ear struct{ p *Phone }

// Message implements flow.Handler.
func (e ear) Message(f *flow.Flow, m sip.Message) {
	<-e.p.ready
	if f.Secure() {
		e.p.rec.message(f, m)
	}
	e.p.layer.Message(f, m)
}

// Closed implements flow.Handler.
func (e ear) Closed(f *flow.Flow) { e.p.layer.Closed(f) }

func newCallID(c Config) string {
	id := random()
	if c.CallIDHost != "" {
		id += "@" + c.CallIDHost
	}
	return id
}

// random is 64 random bits as text.
func random() string { return fmt.Sprintf("%016x", number()) }

// number is 64 random bits.
func number() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}
