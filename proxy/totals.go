package proxy

// Totals is what the proxy holds at a moment. With no call and no request
// under way all but Bindings, Connections and Resting are zero: whoever looks
// for a leak looks here.
type Totals struct {
	Bindings     int
	Connections  int // TCP and TLS
	Transactions int
	Calls        int // ringing and talking
	Facades      int // strangers who hear ringing
	Notices      int // recipients whose notice waits for its moment
	Sessions     int // of the media engine
	Ports        int // in use by sessions
	Resting      int // ports that rest after a call

	Plane, WhyPlane string // by what media is relayed
}

// Totals counts what the proxy holds.
func (p *Proxy) Totals() Totals {
	t := Totals{
		Bindings: p.loc.Len(), Connections: p.mux.Connections(), Transactions: p.txn.Open(),
		Calls: p.calls.live(), Facades: p.facades.len(), Notices: p.notices.underWay(),
		Sessions: p.engine.Sessions(),
	}
	t.Ports, t.Resting = p.engine.Ports()
	plane, why := p.engine.Plane()
	t.Plane, t.WhyPlane = string(plane), why
	return t
}
