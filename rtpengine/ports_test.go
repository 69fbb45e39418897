package rtpengine

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

func TestPortsAreEvenPairsAndRest(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPorts(20001, 20008, 10*time.Second, 0) // 20002, 20004, 20006
	open := func(uint16) error { return nil }
	taken := map[uint16]bool{}
	for range 3 {
		port, err := p.take(relayIP, now, open)
		if err != nil || port%2 != 0 || port < 20001 || port+1 > 20008 || taken[port] {
			t.Fatalf("port %d, %v, after %v", port, err, taken)
		}
		taken[port] = true
	}
	if _, err := p.take(relayIP, now, open); !errors.Is(err, ErrNoPorts) {
		t.Errorf("a fourth pair: %v", err)
	}
	if _, err := p.take(relay6, now, open); err != nil {
		t.Errorf("another address has ports of its own: %v", err)
	}
	p.release(relayIP, 20004, now)
	if _, err := p.take(relayIP, now.Add(10*time.Second-1), open); !errors.Is(err, ErrNoPorts) {
		t.Errorf("a port was used before it had rested: %v", err)
	}
	if port, err := p.take(relayIP, now.Add(10*time.Second), open); port != 20004 {
		t.Errorf("port %d, %v", port, err)
	}
}

// A port that another program has is passed over, and is free again later.
func TestPortsOfOthersArePassedOver(t *testing.T) {
	p := newPorts(20000, 20003, 0, 0)
	others := uint16(20000)
	busy := func(port uint16) error {
		if port == others {
			return errors.New("address in use")
		}
		return nil
	}
	if port, err := p.take(relayIP, time.Now(), busy); port != 20002 || err != nil {
		t.Fatalf("port %d, %v", port, err)
	}
	if _, err := p.take(relayIP, time.Now(), busy); !errors.Is(err, ErrNoPorts) {
		t.Errorf("%v", err)
	}
	others = 0
	if port, err := p.take(relayIP, time.Now(), busy); port != 20000 || err != nil {
		t.Errorf("port %d, %v", port, err)
	}
}

// What would be the same at every port is not tried at every port: a call that
// cannot be costs no more than one that can.
func TestHopelessPortsAreNotTried(t *testing.T) {
	for _, c := range []struct{ system, want error }{
		{syscall.EMFILE, ErrNoSockets},
		{syscall.ENFILE, ErrNoSockets},
		{syscall.ENOBUFS, ErrNoSockets},
		{syscall.EADDRNOTAVAIL, ErrNoPorts},
	} {
		p, tries := newPorts(20000, 29999, time.Minute, 0), 0
		_, err := p.take(relayIP, time.Now(), func(uint16) error {
			tries++
			return fmt.Errorf("socket: %w", c.system)
		})
		if !errors.Is(err, c.want) || !errors.Is(err, c.system) || tries != 1 {
			t.Errorf("%v: %v after %d tries", c.system, err, tries)
		}
		if used, resting := p.count(time.Now()); used+resting != 0 {
			t.Errorf("%v: %d ports are in use, %d rest", c.system, used, resting)
		}
	}
}

// Nobody can guess the ports of a call from those of the one before.
func TestPortsAreRandom(t *testing.T) {
	p := newPorts(20000, 29999, 0, 0)
	next, last := 0, uint16(0)
	for range 500 {
		port, err := p.take(relayIP, time.Now(), func(uint16) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if d := int(port) - int(last); d > -20 && d < 20 {
			next++
		}
		last = port
	}
	if next > 25 { // one in 250 by chance
		t.Errorf("%d of 500 ports are beside the one before", next)
	}
}

// Running out is an error of the new call only.
func TestExhaustedEngine(t *testing.T) {
	bounds := map[string]string{"ports": "media.ports", "sessions": "media.max_sessions", "sockets": "descriptors"}
	for name, change := range map[string]func(*Config){
		"ports":    func(c *Config) { c.PortMax = c.PortMin + 3 },
		"sessions": func(c *Config) { c.MaxSessions = 1 },
		"sockets":  func(c *Config) { c.MaxSockets = 7 },
	} {
		e := deafEngine(t, change)
		if calls, bound := e.Room(); calls != 1 || bound != bounds[name] {
			t.Errorf("%s: room for %d calls by %s", name, calls, bound)
		}
		call(t, e, 1)
		_, err := e.Offer(2, Body{From: Caller, SDP: audio(callerIP, 4000), Toward: V4})
		if !errors.Is(err, ErrNoPorts) && !errors.Is(err, ErrNoSessions) && !errors.Is(err, ErrNoSockets) {
			t.Errorf("%s: %v", name, err)
		}
		if used, _ := e.Ports(); e.Sessions() != 1 || used != 4 {
			t.Errorf("%s: %d sessions, %d ports", name, e.Sessions(), used)
		}
		if _, err := e.Offer(1, Body{From: Caller, SDP: audio(callerIP, 4444), Source: callerIP, Toward: V4}); err != nil {
			t.Errorf("%s: the call that there is: %v", name, err)
		}
		e.Delete(1)
		call(t, e, 3)
	}
}
