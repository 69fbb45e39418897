package rtpengine

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Sessions outlive the process: what a session needs to go on is handed out
// as it changes (Config.Keep), and given back at the next start (Restore),
// which binds the same ports again. The phones notice a gap of silence, unless
// the kernel relays on (Config.Pin).

// kept is a session as Keep is given it.
type kept struct {
	Addrs   [2]Address
	CNames  [2]string // as which each party is known in RTCP
	Clocks  [2]uint64
	Origins [2]keptOrigin
	Streams []keptStream
	Offerer Side `json:",omitzero"`
	User    bool `json:",omitzero"` // only user space relays it
}

type keptOrigin struct {
	ID, Version uint64
	Body        []byte
}

type keptStream struct {
	Media string
	manner
	Offered manner  `json:",omitzero"`
	ZRTP    [2]bool `json:",omitzero"`
	Faces   [2]keptFace
}

type keptFace struct {
	Addr      Address
	Port      uint16 // 0: not open
	RTP, RTCP keptLatch
	Said      said
	ICE       [2]credentials `json:",omitzero"` // ours, and the party's
	Nominated [2]uint32      `json:",omitzero"` // priorities; 0: no pair of that component
}

type keptLatch struct {
	Signalled, Latched netip.AddrPort
	Source             netip.Addr
	Split              bool
}

// Times of keeping (ours). A change by signalling is kept soon after; what
// packets teach, within a second.
const (
	keepSoon  = 50 * time.Millisecond
	keepEvery = time.Second
)

// keeper hands out what has changed until the engine is closed, and once more then.
func (e *Engine) keeper() {
	defer e.wait.Done()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			e.keep()
			return
		case <-tick.C:
		case <-e.changed:
			time.Sleep(keepSoon) // more come with it: offers, answers, other calls
		}
		e.keep()
	}
}

// touch says that something is to be kept soon.
func (e *Engine) touch() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// keep hands out the sessions that have changed, and nil for those that have
// ended. What is not taken is handed out again the next time.
func (e *Engine) keep() {
	changes := map[uint64][]byte{}
	e.mu.Lock()
	ended := e.gone
	e.gone = nil
	all := slices.Collect(maps.Values(e.sessions))
	e.mu.Unlock()
	for _, id := range ended {
		changes[uint64(id)] = nil
	}
	for _, s := range all {
		if text := s.unkept(); text != nil {
			changes[uint64(s.id)] = text
		}
	}
	if len(changes) == 0 {
		return
	}
	if err := e.cfg.Keep(changes); err != nil {
		e.log.Warn("media sessions not kept; a restart now would lose them", "err", err)
		e.keepAgain(changes, ended)
	}
}

// keepAgain takes back what could not be kept.
func (e *Engine) keepAgain(changes map[uint64][]byte, ended []ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = append(e.gone, ended...)
	for id := range changes {
		if s := e.sessions[ID(id)]; s != nil {
			s.loop.mu.Lock()
			s.keptAt = nil
			s.loop.mu.Unlock()
		}
	}
}

// unkept is the session's text if it has changed since it was last asked for, else nil.
func (s *session) unkept() []byte {
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	now := append(make([]netip.AddrPort, 0, 5*len(s.streams)+1), netip.AddrPortFrom(netip.Addr{}, s.edits))
	for _, t := range s.streams {
		if t.secured() {
			now = append(now, netip.AddrPort{}) // ZRTP comes when it comes
		}
		for side := range t.faces {
			now = append(now, t.faces[side].latch.latched, t.faces[side].latchC.latched)
		}
	}
	if s.ended || slices.Equal(now, s.keptAt) {
		return nil
	}
	s.keptAt = now
	text, err := json.Marshal(s.kept())
	if err != nil {
		return nil // only types that JSON cannot write fail
	}
	return text
}

// kept is the session as it is kept. It is called under the loop's lock.
func (s *session) kept() kept {
	k := kept{Addrs: s.addrs, Offerer: s.offerer, User: s.userOnly}
	for side, a := range s.aliases {
		k.CNames[side], k.Clocks[side] = a.cname, a.clock
	}
	for side, o := range s.origin {
		k.Origins[side] = keptOrigin{o.id, o.version, o.body}
	}
	for _, t := range s.streams {
		ks := keptStream{Media: t.media, manner: t.manner, Offered: t.offered, ZRTP: t.zrtp}
		for side := range t.faces {
			f := &t.faces[side]
			ks.Faces[side] = keptFace{Addr: f.addr, RTP: f.latch.kept(), RTCP: f.latchC.kept(), Said: f.said}
			if f.ice != nil {
				ks.Faces[side].ICE = [2]credentials{f.ice.own, f.ice.peer}
				ks.Faces[side].Nominated = [2]uint32{f.ice.rtp.kept(), f.ice.rtcp.kept()}
			}
			if f.rtp != nil {
				ks.Faces[side].Port = f.port
			}
		}
		k.Streams = append(k.Streams, ks)
	}
	return k
}

func (l *latch) kept() keptLatch {
	return keptLatch{Signalled: l.signalled, Latched: l.latched, Source: l.source, Split: l.split}
}

func (k keptLatch) latch() latch {
	return latch{signalled: k.Signalled, latched: k.Latched, source: k.Source, split: k.Split}
}

// Restore takes up sessions of an earlier process, before anything else is
// asked of the engine, and says how many go on. A session whose ports another
// program has taken meanwhile is lost, and so is one that cannot be read; Keep
// is told that they have ended.
func (e *Engine) Restore(all map[uint64][]byte) int {
	n := 0
	if e.kernel != nil && e.kernel.Inherited() {
		defer e.kernel.Settle()
	}
	for id, text := range all {
		if err := e.restore(ID(id), text); err != nil {
			e.log.Warn("media session of the last run is lost", "err", err)
			e.drop(ID(id))
			continue
		}
		n++
	}
	return n
}

func (e *Engine) restore(id ID, text []byte) error {
	s, _, err := e.session(id, true)
	if err != nil {
		e.mu.Lock()
		e.gone = append(e.gone, id)
		e.mu.Unlock()
		return err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return fmt.Errorf("reading session: %w", err)
	}
	s.loop.mu.Lock()
	defer s.loop.mu.Unlock()
	s.addrs, s.offerer, s.userOnly = k.Addrs, k.Offerer, k.User
	for side := range s.aliases {
		s.aliases[side] = alias{k.CNames[side], k.Clocks[side]}
	}
	for side, o := range k.Origins {
		s.origin[side] = origin{o.ID, o.Version, o.Body}
	}
	for _, ks := range k.Streams {
		t := &stream{media: ks.Media, manner: ks.manner, offered: ks.Offered, zrtp: ks.ZRTP}
		s.streams = append(s.streams, t)
		for side, kf := range ks.Faces {
			if err := s.reopen(t, Side(side), kf); err != nil {
				return err
			}
		}
		t.adopt(&t.faces[Caller], &t.faces[Callee])
		t.adopt(&t.faces[Callee], &t.faces[Caller])
	}
	return nil
}

// kept is the priority of the nominated pair, 0 without one: a candidate's is
// never 0 (RFC 8445 §5.1.2).
func (n nominee) kept() uint32 {
	if n.checked.IsZero() {
		return 0
	}
	return max(n.priority, 1)
}

func nominated(priority uint32) nominee {
	if priority == 0 {
		return nominee{}
	}
	return nominee{priority, time.Now()}
}

// reopen binds the ports of a face again.
func (s *session) reopen(t *stream, side Side, k keptFace) error {
	f := &t.faces[side]
	f.latch, f.latchC, f.said, f.alias = k.RTP.latch(), k.RTCP.latch(), k.Said, s.aliases[side]
	if k.ICE[1] != (credentials{}) {
		f.ice = &agent{
			own: k.ICE[0], peer: k.ICE[1],
			rtp: nominated(k.Nominated[0]), rtcp: nominated(k.Nominated[1]),
		}
	}
	f.latch.nominated, f.latchC.nominated = k.Nominated[0] != 0, k.Nominated[1] != 0
	if k.Port == 0 {
		return nil
	}
	p, err := s.bind(t, side, k.Addr, k.Port)
	if err != nil {
		return err
	}
	if err := s.e.ports.claim(portKey{k.Addr.Local, k.Port}, time.Now()); err != nil {
		s.loop.shut(p.rtp)
		s.loop.shut(p.rtcp)
		return err
	}
	s.move(f, side, p)
	return nil
}
