package flow

import "time"

// KeepAlive is how often a phone behind a NAT should ping (RFC 5626 §4.4.1
// asks for less than the usual binding of a UDP NAT; §4.4 suggests 120 s for TCP).
const KeepAlive = 110 * time.Second

// Limits bound what strangers can hold open. Zero values are the defaults.
type Limits struct {
	Connections  int           // of all listeners, and ours to others; default 20,000: 1 GB at 50 KB each
	PerAddress   int           // per peer address; default 200: an office behind one NAT
	Handshake    time.Duration // TLS; default 5 s
	FirstMessage time.Duration // until the first whole message; default 10 s (slow loris)
	Idle         time.Duration // without a byte, unless it is needed; default 4 keep-alives
	Write        time.Duration // for one message; default 10 s: a peer that never reads
	Queue        int           // messages waiting to be written; default 256
	Dial         time.Duration // default 5 s
	SocketBuffer int           // bytes a UDP socket holds for us; default 16 MiB: most of a second of flood
}

// accepted is how many connections others may have opened: the last sixteenth
// is for those that we open, so that nobody can keep us from calling a trunk.
func (l Limits) accepted() int { return l.Connections - l.Connections/16 }

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		Connections: 20000, PerAddress: 200,
		Handshake: 5 * time.Second, FirstMessage: 10 * time.Second, Idle: 4 * KeepAlive,
		Write: 10 * time.Second, Queue: 256, Dial: 5 * time.Second, SocketBuffer: 16 << 20,
	}
}

// filled replaces zeros with the defaults.
func (l Limits) filled() Limits {
	d := DefaultLimits()
	for _, n := range []struct{ have, def *int }{
		{&l.Connections, &d.Connections},
		{&l.PerAddress, &d.PerAddress},
		{&l.Queue, &d.Queue},
		{&l.SocketBuffer, &d.SocketBuffer},
	} {
		if *n.have == 0 {
			*n.have = *n.def
		}
	}
	for _, t := range []struct{ have, def *time.Duration }{
		{&l.Handshake, &d.Handshake},
		{&l.FirstMessage, &d.FirstMessage},
		{&l.Idle, &d.Idle},
		{&l.Write, &d.Write},
		{&l.Dial, &d.Dial},
	} {
		if *t.have == 0 {
			*t.have = *t.def
		}
	}
	return l
}
