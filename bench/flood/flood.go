package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sotto/proxy/phone"
)

// flood is one run.
type flood struct {
	program           string
	rate, from, calls int
	lasts             time.Duration

	stop chan struct{}
	sent atomic.Int64
	out  atomic.Int64 // bytes
	back atomic.Int64 // bytes
	num  atomic.Int64 // datagrams that came back

	mu sync.Mutex
	result
}

// Bounds of one run (ours).
const (
	pairs    = 40 // of users: with 20 calls a second each pair calls every other second
	patience = 10 * time.Second
	talk     = 100 * time.Millisecond
	senders  = 2
)

// run floods the server and lets users call.
func (f *flood) run() (result, error) {
	dir, err := os.MkdirTemp("/dev/shm", "sotto-flood-") // the disk is not what is measured
	if err != nil {
		return result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // at worst it goes with the memory
	v, err := serve(f.program, dir, 2*pairs)
	if err != nil {
		return result{}, err
	}
	defer v.close()
	users, err := openPhones()
	if err != nil {
		return result{}, err
	}
	defer func() {
		for _, p := range users {
			p.Close()
		}
	}()
	f.stop = make(chan struct{})
	before, began := v.cpu(), time.Now()
	attackers, err := f.attack()
	if err != nil {
		return result{}, err
	}
	f.callAll(users, v)
	close(f.stop)
	f.lasted, f.cpu = time.Since(began), v.cpu()-before
	attackers()
	f.result.sent, f.bytesSent = int(f.sent.Load()), int(f.out.Load())
	f.fromUs, f.bytesBack = int(f.num.Load()), int(f.back.Load())
	f.status, err = v.status()
	return f.result, err
}

// openPhones registers all users, all at once: the first answer to each is
// larger than what was asked, and so costs half a second (see docs/strangers.md).
func openPhones() ([]*phone.Phone, error) {
	all := make([]*phone.Phone, 2*pairs)
	failed := make([]error, 2*pairs)
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() { all[i], failed[i] = openPhone(userName(i)) })
	}
	wait.Wait()
	return all, errors.Join(failed...)
}

// openPhone registers a user.
func openPhone(user string) (*phone.Phone, error) {
	p, err := phone.New(phone.Config{
		User: user, Domain: domain, Password: password, Server: serverAt,
		Local: netip.AddrPortFrom(phonesAt, 0), Mute: true,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err = p.Register(ctx); err != nil {
		return nil, fmt.Errorf("%s cannot register: %w", user, err)
	}
	return p, nil
}

// callAll lets users call at their rate, until the time is over, and waits
// for the last one.
func (f *flood) callAll(users []*phone.Phone, v *server) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wait sync.WaitGroup
	for _, p := range users[pairs:] {
		go answerAll(ctx, p)
	}
	tick := time.NewTicker(time.Second / time.Duration(f.calls))
	defer tick.Stop()
	for i, began := 0, time.Now(); time.Since(began) < f.lasts; i++ {
		<-tick.C
		wait.Go(func() { f.call(ctx, users[i%pairs], userName(pairs+i%pairs)) })
		f.most = max(f.most, v.memory())
	}
	wait.Wait()
}

// answerAll answers its pair, and lets others ring: what a device says to them
// it has sent itself, and so is no measure of what the server makes of a datagram.
func answerAll(ctx context.Context, p *phone.Phone) {
	for {
		in, err := p.Incoming(ctx)
		if err != nil {
			return
		}
		if from := in.Invite.From().Address; from.Host == domain {
			go func() { _ = in.Answer(ctx) }() // the caller's side tells
		}
	}
}

// call is one call: set up, a moment of silence, the end.
func (f *flood) call(ctx context.Context, p *phone.Phone, to string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	c, err := p.Call(ctx, "sip:"+to+"@"+domain)
	took := time.Since(began)
	if err == nil {
		time.Sleep(talk)
		err = c.Bye(ctx)
	}
	p.Forget()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if err != nil {
		f.failures = append(f.failures, fmt.Errorf("after %v: %w", time.Since(began).Round(time.Millisecond), err))
		return
	}
	f.setUp = append(f.setUp, took)
}

// attack opens the hostile sockets and begins; what it returns waits for their end.
func (f *flood) attack() (end func(), err error) {
	var readers, writers sync.WaitGroup
	socks := make([]*net.UDPConn, f.from)
	for i := range socks {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 97, byte(i >> 8), byte(i)}), 5060)
		socks[i], err = net.DialUDP("udp", net.UDPAddrFromAddrPort(at), net.UDPAddrFromAddrPort(serverAt))
		if err != nil {
			return nil, fmt.Errorf("opening hostile socket %d: %w", i, err)
		}
		readers.Go(func() { f.hear(socks[i]) })
	}
	for n := range senders {
		writers.Go(func() { f.send(socks, n) })
	}
	return func() {
		writers.Wait()
		for _, s := range socks {
			_ = s.Close() // its reader ends
		}
		readers.Wait()
	}, nil
}

// hear counts what comes back.
func (f *flood) hear(s *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, err := s.Read(buf)
		if err != nil {
			select {
			case <-f.stop:
				return
			default:
				continue // a port is unreachable for a moment
			}
		}
		f.num.Add(1)
		f.back.Add(int64(n))
	}
}

// send sends its share, in bursts of a millisecond. What it could not send in
// time on a busy machine is left out, not sent in a heap.
func (f *flood) send(socks []*net.UDPConn, share int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for i := share; ; {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		perSecond := f.rate / senders
		due := int(time.Since(began).Seconds() * float64(perSecond))
		for sent = max(sent, due-perSecond/50); sent < due; sent++ {
			s := socks[i%len(socks)]
			if n, err := s.Write(hostile(i, s.LocalAddr().String())); err == nil {
				f.sent.Add(1)
				f.out.Add(int64(n))
			}
			i += senders
		}
	}
}
