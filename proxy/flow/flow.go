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
	"net/netip"
	"sync/atomic"

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
)

// A Flow is one way to a peer. Its methods are safe for concurrent use.
type Flow struct {
	ref  Ref
	udp  *udpListener // of a UDP flow
	conn *conn        // of a connection
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

// Send sends one message. It never blocks: a connection queues it, bounded;
// a full queue is ErrFull. b is not kept.
func (f *Flow) Send(b []byte) error {
	if f.udp != nil {
		return f.udp.send(b, f.ref.Peer)
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
}
