package guard

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Ban is an address, or an IPv6 network, that is not heard for a while.
type Ban struct {
	Who   netip.Prefix
	Why   string
	Until time.Time
}

// ban bans a network, unless somebody is at home there. A full table takes no
// more: the budgets hold all the same.
func (g *Guard) ban(n netip.Prefix, why string, now time.Time) {
	if now.Before(g.homes[n]) || g.covered(n) || len(g.bans) >= maxBans {
		return
	}
	g.bans[n] = Ban{n, why, now.Add(g.cfg.Ban)}
	g.count.Banned.Add(1)
	g.log.Info("address banned", "address", n.String(), "why", why, "for", g.cfg.Ban)
}

// covered says that a network has an exempt address in it.
func (g *Guard) covered(n netip.Prefix) bool {
	for _, p := range g.cfg.Exempt {
		if p.Overlaps(n) {
			return true
		}
	}
	return false
}

// banned says that a network is banned now.
func (g *Guard) banned(n netip.Prefix, now time.Time) bool {
	b, ok := g.bans[n]
	return ok && now.Before(b.Until)
}

// Bans lists the bans in force, in the order of their addresses.
func (g *Guard) Bans(now time.Time) []Ban {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Ban
	for _, b := range g.bans {
		if now.Before(b.Until) {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b Ban) int {
		if c := a.Who.Addr().Compare(b.Who.Addr()); c != 0 {
			return c
		}
		return strings.Compare(a.Who.String(), b.Who.String())
	})
	return all
}

// Pardon ends the ban of an address, or with the zero address all bans, and
// says how many. What was spent is forgiven, too.
func (g *Guard) Pardon(a netip.Addr, now time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for who, b := range g.bans {
		if a.IsValid() && who != Network(a.Unmap()) {
			continue
		}
		if now.Before(b.Until) {
			n++
		}
		delete(g.bans, who)
		for _, k := range []kind{malformed, failed} {
			for _, c := range g.cells[k].of(g.key(who, true)) {
				*c = 0
			}
		}
	}
	return n
}
