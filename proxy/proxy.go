// Package proxy is the SIP side of Sotto: registrar, proxy core, screening of
// callers and the hiding of who and where a party is.
//
// A message enters at [Proxy.Request], on the worker that owns its Call-ID,
// and is handled there from first to last line without locks: admit.go (may
// this enter at all), identity.go (who is asking), route.go (what the
// Request-URI and Route mean), then the file named after what is asked:
// register.go, invite.go, modify.go, bye.go, pass.go. fork.go carries a
// request to its targets and the best response back; sealed.go and plain.go
// decide how a message looks on the other side.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"sotto/configs"
	"sotto/location"
	"sotto/proxy/flow"
	"sotto/proxy/guard"
	"sotto/proxy/receipt"
	"sotto/proxy/resolve"
	"sotto/proxy/txn"
	"sotto/rtpengine"
	"sotto/store"
)

// Options are what a proxy is made of. All but Network, TLS, Resolver and Chance must be set.
type Options struct {
	Config   configs.Config
	Store    *store.Store
	Location *location.Table
	Engine   *rtpengine.Engine
	Network  flow.Network      // nil: the real network
	TLS      *tls.Config       // nil: no TLS listener may be configured
	Resolver *resolve.Resolver // nil: the system's name servers
	// Chance, if not nil, is where random times are drawn from, by what they are
	// for: a test plays the same moments again. Nothing secret comes from it.
	Chance func(moment string) io.Reader
	Log    *slog.Logger
}

// Proxy is one SIP proxy and registrar. Its exported methods are safe for
// concurrent use.
type Proxy struct {
	cfg      configs.Config
	store    *store.Store
	loc      *location.Table
	engine   *rtpengine.Engine
	mux      *flow.Mux
	txn      *txn.Layer
	seal     *sealer
	sealMade atomic.Int64 // when the sealing key was made, in seconds
	rotating sync.Mutex   // one rotation at a time
	auth     *authenticator
	resolver *resolve.Resolver
	domains  map[string]bool
	peers    []peer
	calls    *callTable
	facades  *facadeTable
	notices  *noticeTable
	chance   *chance
	spent    *spending
	ledger   *ledger
	diary    *diary
	receipts *receipt.Book
	guard    *guard.Guard
	log      *slog.Logger

	saved    uint64 // location.Table.Edits of the last snapshot; the housekeeper's
	bound    []Bound
	draining atomic.Bool
	stop     chan struct{}
	done     sync.WaitGroup
}

// Bound is a listener and the address it got.
type Bound struct {
	Transport string
	Addr      netip.AddrPort
}

// New makes a proxy; nothing is opened before Start. Keys are read from the
// store, which makes them at its first start.
func New(o Options) (*Proxy, error) {
	p := &Proxy{
		cfg: o.Config, store: o.Store, loc: o.Location, engine: o.Engine,
		resolver: o.Resolver, log: o.Log, domains: map[string]bool{},
		calls: newCallTable(), facades: newFacadeTable(o.Config.Limits.Transactions), notices: newNoticeTable(),
		chance: newChance(o.Chance), spent: newSpending(),
		stop: make(chan struct{}),
	}
	for _, d := range o.Config.Domains {
		p.domains[canonical(d)] = true
	}
	if len(p.domains) == 0 {
		return nil, errors.New("no domain configured")
	}
	if err := p.readKeys(); err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	var err error
	if p.peers, err = readPeers(o.Config.Peers); err != nil {
		return nil, err
	}
	if p.resolver == nil {
		p.resolver = resolve.New()
	}
	p.ledger = newLedger(o.Log)
	p.diary = &diary{p: p}
	p.receipts = receipt.NewBook(receipt.Config{Public: p.public, Log: o.Log})
	p.guard = guard.New(guardConfig(o.Config, o.Log))
	p.knowHomes(time.Now())
	p.txn = txn.New(txn.Config{
		Handler: p, Shard: p.shard, Log: o.Log,
		MaxTransactions: o.Config.Limits.Transactions,
	})
	p.mux = flow.New(flow.Config{
		Network: o.Network, TLS: o.TLS, Log: o.Log, Handler: p,
		Limits: flowLimits(o.Config.Limits), Guard: p.guard, Needed: p.registeredOver,
	})
	return p, nil
}

// Start opens the configured listeners. On an error none stays open.
func (p *Proxy) Start() ([]Bound, error) {
	told, err := p.store.Tellings(time.Now().Add(-rateMemory))
	if err != nil {
		return nil, err
	}
	for _, l := range p.cfg.Listen {
		addr, err := p.mux.Listen(l.Transport, l.Addr)
		if err != nil {
			p.mux.Close()
			return nil, fmt.Errorf("listening on %s:%s: %w", l.Transport, l.Addr, err)
		}
		p.bound = append(p.bound, Bound{l.Transport, addr})
	}
	p.notices.restart(p.store.Untold(), told)
	p.done.Add(1)
	go p.housekeep()
	return p.bound, nil
}

// Drain lets running calls end and takes no new ones, until ctx ends or no
// call is left.
func (p *Proxy) Drain(ctx context.Context) {
	p.draining.Store(true)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for p.calls.live() > 0 || p.engine.Sessions() > 0 { // calls of the last run are known by their media only
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close ends everything at once and waits until nothing of it runs any more.
func (p *Proxy) Close() {
	p.draining.Store(true)
	close(p.stop)
	p.done.Wait()
	p.notices.close()
	p.mux.Close()
	p.txn.Close()
	p.diary.close()
	p.ledger.close()
	p.receipts.Close()
}

// Message implements flow.Handler.
func (p *Proxy) Message(f *flow.Flow, m sip.Message) {
	if req, ok := m.(*sip.Request); ok && req.IsInvite() && !f.Known() && !inDialog(req) {
		if !p.guard.Invites(f.Peer(), f.Transport() != "udp", time.Now()) {
			return
		}
	}
	p.txn.Message(f, m)
}

// Closed implements flow.Handler: bindings of a closed connection are gone,
// since nothing can reach the phone over it (RFC 5626 §5.3), unless it is a
// neighbour's.
func (p *Proxy) Closed(f *flow.Flow) {
	p.loc.FlowClosed(location.Flow(f.Ref()), p.byPath)
	p.txn.Closed(f)
}

// registeredOver says that a phone is reached over a connection: one that says
// nothing until it registers again would be gone for that long.
func (p *Proxy) registeredOver(f *flow.Flow) bool { return p.bindingOf(f) != 0 }

// Request implements txn.Handler: every new request enters here.
func (p *Proxy) Request(s *txn.Server) {
	if err := p.handle(s); err != nil {
		p.answer(s, err)
	}
	if s.User == nil { // nobody goes on with it
		s.Settle()
	}
}

// handle names the file that goes on with the request.
func (p *Proxy) handle(s *txn.Server) error {
	if err := p.admit(s.Req); err != nil {
		return err
	}
	if p.refersToCode(s.Req) {
		return refuse(sip.StatusForbidden, whyFeatureCode)
	}
	r, err := p.route(s.Req)
	if err != nil {
		return err
	}
	switch {
	case (r.sealed != nil || r.routed()) && p.namedAsNotices(s.Req):
		return refuse(sip.StatusForbidden, whyNotYours)
	case r.sealed != nil:
		return p.within(s, *r.sealed)
	case r.routed():
		return p.follow(s, r)
	case s.Req.Method == sip.REGISTER:
		return p.register(s)
	case inDialog(s.Req):
		// RFC 3261 §12.2.2: a dialog that we did not route.
		return refuse(sip.StatusCallTransactionDoesNotExists, whyNoDialog)
	case s.Req.Method == sip.INVITE:
		return p.invite(s)
	default:
		return p.pass(s)
	}
}

// Cancel implements txn.Handler: the sender of an INVITE gave up.
func (p *Proxy) Cancel(s *txn.Server) {
	switch u := s.User.(type) {
	case *facade:
		u.cancel()
	case *fork:
		u.cancel()
	default:
		p.answer(s, refuse(sip.StatusRequestTerminated, whyCancelled))
	}
}

// Stray implements txn.Handler. A response that matches nothing is dropped
// (RFC 6026 §7.3: a proxy that forwards strays helps only attackers).
func (p *Proxy) Stray(f *flow.Flow, res *sip.Response) {
	p.log.Debug("stray response", "code", res.StatusCode, "transport", f.Transport())
}

// housekeep forgets expired bindings and old records, and writes the
// location snapshot that survives a restart.
func (p *Proxy) housekeep() {
	defer p.done.Done()
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			p.saveBindings()
			return
		case now := <-tick.C:
			p.loc.Expire(now)
			p.guard.Expire(now)
			p.rotateOld(now)
			p.notices.tick(p, now)
			p.spent.forget(now)
			for _, session := range p.calls.forget(now) {
				p.endMedia(session)
			}
			p.saveBindings()
		}
	}
}

// saveBindings writes the location snapshot. A store that is full or locked
// costs the restart its bindings, not the running calls theirs.
func (p *Proxy) saveBindings() {
	edits := p.loc.Edits()
	if edits == p.saved {
		return
	}
	if err := p.store.SaveSnapshot(bindingsSnapshot, p.loc.Snapshot()); err != nil {
		p.log.Warn("bindings not saved; they live on in memory", "err", err)
		return
	}
	p.saved = edits
}

const (
	// timerC is more than three minutes (RFC 3261 §16.6 step 11).
	timerC = 185 * time.Second
	// housekeeping is how often expired state is swept and bindings are saved (ours).
	housekeeping = 10 * time.Second
	// bindingsSnapshot names the location snapshot in the store.
	bindingsSnapshot = "bindings"
)
