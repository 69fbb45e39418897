// Package flow carries SIP messages over UDP, TCP and TLS, and gives each
// connection an identity (RFC 5626): a phone that registered over one is
// reached over the same one, or not at all.
//
// A message comes in at [Mux.Listen]'s readers (udp.go, stream.go), through
// the gate of package wire, to the [Handler]. It goes out by [Flow.Send],
// which never blocks. There is no table of UDP peers: a UDP flow is a value
// made of the listener and the peer's address.
package flow

import (
	"crypto/tls"
	"errors"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Ref names a flow. It is comparable and can be written down; after a restart
// the reference to a UDP flow is still good and that to a connection is not.
type Ref struct {
	Transport   string // udp, tcp or tls
	Local, Peer netip.AddrPort
	ID          uint64 // random, of a connection; 0 for UDP
}

// Errors of Send and Dial.
var (
	ErrClosed   = errors.New("flow is closed")
	ErrFull     = errors.New("flow's send queue is full")
	ErrTooLarge = errors.New("message does not fit into a datagram")
	ErrUnpaid   = errors.New("more bytes than came from an address that may be borrowed")
)

// A Flow is one way to a peer. Its methods are safe for concurrent use.
type Flow struct {
	ref  Ref
	udp  *udpListener // of a UDP flow
	conn *conn        // of a connection

	stranger bool // of a datagram: see Known, Send
}

// Ref names the flow.
func (f *Flow) Ref() Ref { return f.ref }

// Transport is udp, tcp or tls.
func (f *Flow) Transport() string { return f.ref.Transport }

// Local is our end; of a listener on all addresses it is unspecified.
func (f *Flow) Local() netip.AddrPort { return f.ref.Local }

// Peer is the other end.
func (f *Flow) Peer() netip.AddrPort { return f.ref.Peer }

// Secure says that the flow is encrypted hop by hop.
func (f *Flow) Secure() bool { return f.ref.Transport == "tls" || f.ref.Transport == "wss" }

// Known says that whoever is at the other end comes first: a user who has
// proved to be one, a peer, or somebody to whom we turned ourselves.
func (f *Flow) Known() bool {
	if f.conn != nil {
		return f.conn.key != (dialKey{}) || !f.conn.stranger.Load()
	}
	return !f.stranger
}

// Room is how many bytes Send would send now.
func (f *Flow) Room() int {
	if f.udp == nil || !f.stranger {
		return math.MaxInt32
	}
	return f.udp.mux.cfg.Guard.Room(f.ref.Peer, time.Now())
}

// Echoed says that the other end has shown to receive what is sent to it.
func (f *Flow) Echoed() {
	if f.stranger {
		f.udp.mux.cfg.Guard.Echoed(f.ref.Peer, time.Now())
	}
}

// Send sends one message. It never blocks: a connection queues it, bounded;
// a full queue is ErrFull. The sender of a datagram whom nothing has shown to
// be where it says is sent no more bytes than came from there: ErrUnpaid. b is
// not kept.
func (f *Flow) Send(b []byte) error {
	if f.stranger && !f.udp.mux.cfg.Guard.Pays(f.ref.Peer, len(b), time.Now()) {
		return ErrUnpaid
	}
	return f.Relay(b)
}

// Relay is Send for what somebody else has sent us, who thereby has paid.
func (f *Flow) Relay(b []byte) error {
	if f.udp != nil {
		return f.udp.send(b, f.ref.Local, f.ref.Peer)
	}
	return f.conn.send(b)
}

// TLS is what the handshake established; nil without TLS or before it.
func (f *Flow) TLS() *tls.ConnectionState {
	if f.conn == nil {
		return nil
	}
	return f.conn.tls.Load()
}

// Done is closed when a connection has ended; of a UDP flow it is nil.
func (f *Flow) Done() <-chan struct{} {
	if f.conn == nil {
		return nil
	}
	return f.conn.closed
}

// Close ends a connection. The reason is for the log.
func (f *Flow) Close(reason string) {
	if f.conn != nil {
		f.conn.close(reason)
	}
}

// Handler takes what comes in. It must not block.
type Handler interface {
	// Message hands up a well-formed message; a request has received and
	// rport in its top Via already.
	Message(f *Flow, m sip.Message)
	// Closed says, once, that a connection that was handed up has ended.
	Closed(f *Flow)
}

// Counters are what has happened since the start.
type Counters struct {
	Received, Sent, Malformed, Refused, Answered, Pings atomic.Uint64

	Crowded atomic.Uint64 // strangers' datagrams for which there was no room
}
