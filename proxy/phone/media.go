package phone

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"sotto/proxy/flow"
)

const (
	frame     = 20 * time.Millisecond
	pcmu      = 0
	eventType = 101 // our payload type of telephone-event
	firstPort = 16384
	portTries = 200
)

// Media is the audio of one call: two sockets, a sender of frames and a
// receiver. Its methods are safe for concurrent use.
type Media struct {
	rec       *recorder
	rtp, rtcp flow.PacketConn
	local     netip.AddrPort
	reports   reports
	mute      bool
	stop      chan struct{}
	once      sync.Once
	wait      sync.WaitGroup

	mu         sync.Mutex
	started    bool
	remote     Stream
	send, recv bool
	hz         float64
	digits     []byte // to be sent; the first is under way
	digit      event
	header     rtp.Header
	sent       uint32
	octets     uint32
	window     []int16 // the last samples heard
	got        int     // RTP packets received
	from       netip.AddrPort
	heard      string // digits
	lastEvent  uint32
	changed    chan struct{} // closed and made anew for each packet
}

// openMedia opens the sockets of a call on a random even port and the next.
func (p *Phone) openMedia() (*Media, error) {
	m := &Media{
		rec: p.rec, stop: make(chan struct{}), changed: make(chan struct{}),
		mute: p.cfg.Mute, reports: newReports(p.cfg, p.local.Addr()),
		header: rtp.Header{
			Version: 2, PayloadType: pcmu, SSRC: uint32(number()),
			SequenceNumber: uint16(number()), Timestamp: uint32(number()),
		},
	}
	m.reports.ssrc = m.header.SSRC // before the readers start: they read it
	var err error
	for range portTries {
		port := uint16(firstPort + 2*(number()%16000))
		if err = m.open(p.net, netip.AddrPortFrom(p.local.Addr(), port)); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("opening media sockets: %w", err)
}

func (m *Media) open(n *tapNetwork, at netip.AddrPort) error {
	a, err := n.packets(at)
	if err != nil {
		return err
	}
	b, err := n.packets(netip.AddrPortFrom(at.Addr(), at.Port()+1))
	if err != nil {
		_ = a.Close() // nothing was sent
		return err
	}
	m.rtp, m.rtcp, m.local = a, b, at
	m.wait.Go(func() { m.read(a) })
	m.wait.Go(func() { m.read(b) })
	return nil
}

// Local is where the phone takes RTP.
func (m *Media) Local() netip.AddrPort { return m.local }

// Remote is where the other side wants RTP; it is the advertised address.
func (m *Media) Remote() netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.remote.Addr
}

// negotiated starts the media, or changes where it goes.
func (m *Media) negotiated(remote Stream, own Direction) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remote = remote
	d := remote.Direction.reply(own)
	m.send = d.sends() && !remote.Addr.Addr().IsUnspecified()
	m.recv = d.receives()
	if !m.started {
		m.started = true
		m.wait.Go(m.run)
	}
}

// run sends a frame every 20 ms and reports now and then.
func (m *Media) run() {
	t := time.NewTicker(frame)
	defer t.Stop()
	report := time.NewTimer(min(m.reports.every, time.Second/2))
	defer report.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-t.C:
			m.tick()
		case <-report.C:
			m.Report(m.reports.write(m.count()))
			report.Reset(m.reports.every)
		}
	}
}

// tick sends one frame: of a digit, of the tone, or of silence.
func (m *Media) tick() {
	m.mu.Lock()
	h := m.header
	m.header.Timestamp += frameSamples
	var payload []byte
	switch {
	case !m.send:
	case len(m.digits) > 0:
		payload = m.digitFrame(&h)
	case m.hz > 0 || !m.mute:
		payload = make([]byte, frameSamples)
		var samples [frameSamples]int16
		if m.hz > 0 {
			sine(samples[:], m.hz, h.Timestamp)
		}
		for i, v := range samples {
			payload[i] = Compress(v)
		}
	}
	to := m.remote.Addr
	if payload != nil {
		m.header.SequenceNumber++
		m.sent++
		m.octets += uint32(len(payload))
	}
	m.mu.Unlock()
	if payload == nil {
		return
	}
	b, err := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
	if err == nil {
		_, _ = m.rtp.WriteToUDPAddrPort(b, to) // lost, as on any link
	}
}

// Tone sends a tone from now on; 0 is silence.
func (m *Media) Tone(hz float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hz = hz
}

// Send sends one packet from the RTP socket, of any kind, to any address.
func (m *Media) Send(b []byte, to netip.AddrPort) error {
	_, err := m.rtp.WriteToUDPAddrPort(b, to)
	return err
}

// read takes packets of one socket until it is closed.
func (m *Media) read(c flow.PacketConn) {
	buf := make([]byte, 9000)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		b := slices.Clone(buf[:n])
		if isRTCP(b) {
			m.rec.add(RTCP, from, addrPort(c.LocalAddr()), b)
			m.reports.read(b)
			m.wake(nil)
			continue
		}
		m.rec.add(RTP, from, addrPort(c.LocalAddr()), b)
		m.take(b, from)
	}
}

// take hears one RTP packet.
func (m *Media) take(b []byte, from netip.AddrPort) {
	var p rtp.Packet
	if p.Unmarshal(b) != nil || p.Version != 2 {
		return
	}
	m.reports.heard.rtp(p.SSRC, p.SequenceNumber)
	m.wake(func() {
		m.got++
		m.from = from
		switch {
		case p.PayloadType == pcmu && m.recv:
			for _, v := range p.Payload {
				m.window = append(m.window, Expand(v))
			}
			if extra := len(m.window) - toneSamples; extra > 0 {
				m.window = slices.Delete(m.window, 0, extra)
			}
		case p.PayloadType == eventType:
			m.hearEvent(p)
		}
	})
}

// wake changes what is known and wakes who waits.
func (m *Media) wake(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if change != nil {
		change()
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

// until returns once cond, run under the lock, is true.
func (m *Media) until(ctx context.Context, what string, cond func() bool) error {
	for {
		m.mu.Lock()
		ok, changed := cond(), m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-m.stop:
			return fmt.Errorf("waiting for %s: call is over", what)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// Hears returns once the tone comes in: most of 100 ms from now on is it. What
// was heard before does not count.
func (m *Media) Hears(ctx context.Context, hz float64) error {
	m.mu.Lock()
	m.window = nil
	m.mu.Unlock()
	return m.until(ctx, fmt.Sprintf("a tone of %v Hz", hz), func() bool {
		return len(m.window) == toneSamples && ToneIn(m.window, sampleRate, hz) > toneShare
	})
}

// Deaf returns nil if the tone is not heard for the next d.
func (m *Media) Deaf(hz float64, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if m.Hears(ctx, hz) == nil {
		return fmt.Errorf("a tone of %v Hz is heard", hz)
	}
	return nil
}

// Heard is how many RTP packets have come, and where the last came from.
func (m *Media) Heard() (packets int, from netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.got, m.from
}

// count is what goes into a sender report.
func (m *Media) count() (timestamp, packets, octets uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.header.Timestamp, m.sent, m.octets
}

// Report sends RTCP where it belongs.
func (m *Media) Report(b []byte) {
	m.mu.Lock()
	to, mux, send := m.remote.RTCP, m.remote.Mux && m.reports.mux, m.started
	m.mu.Unlock()
	switch {
	case !send || !to.IsValid() || to.Port() == 0:
	case mux:
		_, _ = m.rtp.WriteToUDPAddrPort(b, to) // lost, as on any link
	default:
		_, _ = m.rtcp.WriteToUDPAddrPort(b, to)
	}
}

// close says goodbye and closes the sockets. It waits for the goroutines.
func (m *Media) close() {
	m.once.Do(func() {
		m.Report(m.reports.bye())
		close(m.stop)
		_ = m.rtp.Close() // readers end
		_ = m.rtcp.Close()
	})
	m.wait.Wait()
}
