package proxy

import "sotto/rtpengine"

// Media says what the media of a call is or was like, for the operator: it
// names the addresses of both parties. ref is CallInfo.Ref. Of a call whose
// media was never here there is none, nor of one that rings before the
// parties agree on any.
func (p *Proxy) Media(ref string) []rtpengine.Report {
	all, live, answered := p.calls.mediaOf(ref)
	for _, id := range live {
		if r, ok := p.engine.Query(id); ok && (answered || r.Agreed()) {
			all = append(all, r)
		}
	}
	return all
}

// endMedia frees a session of the media engine; 0 is none. What it was like is
// kept with its call.
func (p *Proxy) endMedia(session rtpengine.ID) {
	if session == 0 {
		return
	}
	if r, ok := p.engine.Delete(session); ok {
		p.calls.measured(session, r)
	}
}

// measured notes what a media session that has ended was like.
func (t *callTable) measured(id rtpengine.ID, m rtpengine.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.byKey[t.sessions[id]]; r != nil && len(r.media) < keptMedia {
		r.media = append(r.media, m)
	}
}

// mediaOf is what is kept of a call's media, the sessions that go on, and
// whether the call has been answered.
func (t *callTable) mediaOf(ref string) (kept []rtpengine.Report, live []rtpengine.ID, answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.record(ref)
	if r == nil {
		return nil, nil, false
	}
	kept = append(kept, r.media...)
	if r.Ended.IsZero() {
		live = append(live, r.sessions...)
	}
	return kept, live, !r.Answered.IsZero()
}
