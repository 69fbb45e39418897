package txn

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/internal/memnet"
	"sotto/proxy/flow"
	"sotto/proxy/wire"
)

var (
	ours   = netip.MustParseAddrPort("192.0.2.1:5060")
	theirs = netip.MustParseAddrPort("198.51.100.7:5060")
)

// A stage is a layer and a peer, which is only a transport: what it gets it
// notes, what it sends the test writes. Everything that happens goes to one
// log, with the half second in which it does.
type stage struct {
	t         *testing.T
	transport string
	net       *memnet.Net
	layer     *Layer
	mux, peer *flow.Mux
	began     time.Time

	mu  sync.Mutex
	log []string
	// What the peer got last, and from where.
	got  sip.Message
	from *flow.Flow
	// What the layer handed up last, and what to do with the next.
	srv     *Server
	request func(*Server)
	cancel  func(*Server)
}

// run runs a test on a stage for each of the transports, on a fake clock.
// Afterwards nothing may be left.
func run(t *testing.T, transports string, script func(s *stage), change ...func(*Config)) {
	t.Helper()
	for transport := range strings.FieldsSeq(transports) {
		t.Run(transport, func(t *testing.T) {
			t.Helper()
			synctest.Test(t, func(t *testing.T) {
				t.Helper()
				s := open(t, transport, change...)
				script(s)
				s.nothingLeft()
			})
		})
	}
}

func open(t *testing.T, transport string, change ...func(*Config)) *stage {
	t.Helper()
	s := &stage{t: t, transport: transport, net: memnet.New(), began: time.Now()}
	s.net.Delay(time.Millisecond)
	c := Config{Handler: user{s}, Workers: 2}
	for _, f := range change {
		f(&c)
	}
	s.layer = New(c)
	s.mux = flow.New(flow.Config{Network: s.net.Host(ours.Addr()), Handler: s.layer})
	s.peer = flow.New(flow.Config{Network: s.net.Host(theirs.Addr()), Handler: peer{s}})
	t.Cleanup(s.close)
	for _, transport := range []string{"udp", "tcp"} {
		s.must(s.mux.Listen(transport, ours))
		s.must(s.peer.Listen(transport, theirs))
	}
	return s
}

func (s *stage) must(_ netip.AddrPort, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// nothingLeft waits for all timers and checks that the tables are empty.
func (s *stage) nothingLeft() {
	s.t.Helper()
	s.pass(2 * time.Minute)
	if n := s.layer.Transactions(); n != 0 {
		s.t.Errorf("%d transactions left", n)
	}
	for i := range s.layer.clients.shards {
		if n := len(s.layer.clients.shards[i].byKey); n != 0 {
			s.t.Errorf("%d clients left", n)
		}
	}
	if n := len(s.layer.clients.flows.byFlow); n != 0 {
		s.t.Errorf("%d flows left", n)
	}
	s.close()
	for _, w := range s.layer.workers {
		if len(w.servers) != 0 || len(w.merged) != 0 || w.wheel.size != 0 {
			s.t.Errorf("%d servers, %d merge keys, %d timers left", len(w.servers), len(w.merged), w.wheel.size)
		}
	}
}

// close ends all goroutines.
func (s *stage) close() {
	s.layer.Close()
	s.mux.Close()
	s.peer.Close()
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// note writes a line to the log.
func (s *stage) note(format string, args ...any) {
	half := time.Since(s.began).Truncate(500 * time.Millisecond)
	s.log = append(s.log, fmt.Sprintf("%.1f ", half.Seconds())+fmt.Sprintf(format, args...))
}

// wants checks what happened since the last call.
func (s *stage) wants(lines ...string) {
	s.t.Helper()
	synctest.Wait()
	time.Sleep(2 * time.Millisecond) // what is under way
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, lines) {
		s.t.Fatalf("happened:\n  %s\nwanted:\n  %s", strings.Join(s.log, "\n  "), strings.Join(lines, "\n  "))
	}
	s.log = nil
}

// do runs fn on the worker of the test's Call-ID.
func (s *stage) do(fn func()) {
	s.t.Helper()
	if err := s.layer.Do("call", fn); err != nil {
		s.t.Fatal(err)
	}
	s.pass(2 * time.Millisecond) // what it sends arrives
}

// starts sends a request as a client transaction.
func (s *stage) starts(req *sip.Request) *Client {
	s.t.Helper()
	var c *Client
	s.do(func() {
		f, err := s.mux.To(s.transport, theirs, "")
		if err == nil {
			c, err = s.layer.Start("call", req, f, sink{s})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	})
	return c
}

// sends sends a message from the peer.
func (s *stage) sends(m sip.Message) {
	s.t.Helper()
	f := s.from
	if f == nil {
		var err error
		if f, err = s.peer.To(s.transport, ours, ""); err != nil {
			s.t.Fatal(err)
		}
		s.from = f
	}
	if err := f.Send(wire.Bytes(m)); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // a connection is opened in four
	synctest.Wait()
}

// answers sends a response to what the peer got last.
func (s *stage) answers(code int, change ...func(*sip.Response)) {
	s.t.Helper()
	req, ok := s.got.(*sip.Request)
	if !ok {
		s.t.Fatalf("the peer got %v", s.got)
	}
	s.sends(response(req, code, change...))
}

// response is a response with a tag.
func response(req *sip.Request, code int, change ...func(*sip.Response)) *sip.Response {
	res := wire.NewResponse(req, code, "x")
	if code > 100 {
		setTag(res, "remote")
	}
	for _, f := range change {
		f(res)
	}
	return res
}

// replies sends a response over the server transaction.
func (s *stage) replies(code int) {
	s.t.Helper()
	s.do(func() {
		if err := s.srv.Reply(response(s.srv.Req, code)); err != nil {
			s.mu.Lock()
			s.note("reply %d: %v", code, err)
			s.mu.Unlock()
		}
	})
}

// request is a request; each change is made to its text.
func request(method string, changes ...string) *sip.Request {
	text := method + " sip:bob@198.51.100.7 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKone\r\n" +
		"Route: <sip:198.51.100.7;lr>\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\n" +
		"To: <sip:bob@example.com>\r\nCall-ID: call\r\nCSeq: 7 " + method + "\r\nX: y\r\nContent-Length: 0\r\n\r\n"
	m, err := wire.Parse([]byte(strings.NewReplacer(changes...).Replace(text)))
	if err != nil {
		panic(err) // a text of the test's own
	}
	return m.(*sip.Request)
}

// peer is the handler of the other end.
type peer struct{ s *stage }

func (p peer) Message(f *flow.Flow, m sip.Message) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.got, p.s.from = m, f
	switch m := m.(type) {
	case *sip.Request:
		p.s.note("peer %s", m.Method)
	case *sip.Response:
		p.s.note("peer %d %s", m.StatusCode, m.CSeq().MethodName)
	}
}

func (peer) Closed(*flow.Flow) {}

// user is the transaction user.
type user struct{ s *stage }

func (u user) Request(srv *Server) {
	u.s.mu.Lock()
	u.s.note("request %s", srv.Req.Method)
	u.s.srv = srv
	fn := u.s.request
	u.s.mu.Unlock()
	if fn != nil {
		fn(srv)
	}
}

func (u user) Cancel(srv *Server) {
	u.s.mu.Lock()
	u.s.note("cancel")
	fn := u.s.cancel
	u.s.mu.Unlock()
	if fn != nil {
		fn(srv)
	}
}

func (u user) Ack(*flow.Flow, *sip.Request) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.note("ack")
}

func (u user) Stray(_ *flow.Flow, res *sip.Response) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.note("stray %d", res.StatusCode)
}

// sink is the sink of all client transactions.
type sink struct{ s *stage }

func (k sink) Response(_ *Client, res *sip.Response) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	k.s.note("response %d", res.StatusCode)
}

func (k sink) Failed(_ *Client, err error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	switch {
	case errors.Is(err, ErrTimeout):
		k.s.note("timeout")
	case errors.Is(err, ErrTransport):
		k.s.note("transport failed")
	default:
		k.s.note("failed: %v", err)
	}
}
