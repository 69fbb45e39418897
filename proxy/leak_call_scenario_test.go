package proxy_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// Calls that lead to other calls, on every ground of the harness. A third
// party has a phone that tells all it knows, too, and nobody may learn anything
// of anybody else.

// with opens one more phone that tells all, on the ground of the others.
func (w *leakStage) with(name string) *proxytest.Phone {
	p := w.more(name)
	p.Registers()
	w.third = append(w.third, p)
	return p
}

// strangersToEachOther searches what each phone got for all others.
func (w *leakStage) strangersToEachOther(t *testing.T, name string) {
	t.Helper()
	all := append([]*proxytest.Phone{w.alice, w.bob}, w.third...)
	for _, p := range all {
		for _, q := range all {
			if p.User == q.User { // a user's phones learn of each other when they register
				continue
			}
			for _, l := range p.Knows(q) {
				t.Errorf("%s: %s received of %s: %v", name, p.User, q.User, l)
			}
		}
	}
}

// chains are calls that lead to others.
var chains = []struct {
	name string
	play func(t *testing.T, w *leakStage)
}{
	{"blind transfer", func(_ *testing.T, w *leakStage) {
		carol := w.with("carol")
		out, in := w.alice.Connect(w.bob)
		in.Does(func(ctx context.Context) error { return in.Refer(ctx, proxytest.URI("carol")) })
		next := w.alice.Invites(referTo(out))
		third := carol.IsCalled()
		third.Answers()
		next.IsAnswered()
		out.Does(func(ctx context.Context) error { return out.Notify(ctx, 200) })
		in.HangsUp()
		out.IsHungUp()
		proxytest.Talk(next, third)
		next.HangsUp()
		third.IsHungUp()
	}},
	{"attended transfer", func(t *testing.T, w *leakStage) {
		carol := w.with("carol")
		out, in := w.alice.Connect(w.bob)
		transferred(t, w.alice, w.bob, carol, out, in)
	}},
	{"call that is forwarded", func(_ *testing.T, w *leakStage) {
		carol := w.with("carol")
		out := w.alice.Invites("bob")
		w.bob.IsCalled().Refuses(302, phone.Contact("<"+proxytest.URI("carol")+">"))
		third := carol.IsCalled()
		third.Answers()
		out.IsAnswered()
		proxytest.Talk(out, third)
		out.HangsUp()
		third.IsHungUp()
	}},
	{"two answers", twoAnswers},
	{"pickup of a ringing call", func(t *testing.T, w *leakStage) { picksUp(t, w.alice, w.bob, w.with("carol")) }},
	{"pickup of an answered call", func(t *testing.T, w *leakStage) { takesOver(t, w.alice, w.bob, w.with("carol")) }},
	{"pickup by the user's other phone", func(t *testing.T, w *leakStage) { picksUp(t, w.alice, w.bob, w.with("bob")) }},
	{"taken over by the user's other phone", func(t *testing.T, w *leakStage) {
		takesOver(t, w.alice, w.bob, w.with("bob"))
	}},
}

// twoAnswers is a call that two devices answer at once.
func twoAnswers(t *testing.T, w *leakStage) {
	desk := w.with("bob")
	out := w.alice.Invites("bob")
	one, two := w.bob.IsCalled(), desk.IsCalled()
	both := make(chan struct{}, 2)
	for _, c := range []*proxytest.Call{one, two} {
		go func() {
			_ = c.Answer(t.Context()) // one of them is hung up
			both <- struct{}{}
		}()
	}
	out.IsAnswered()
	<-both
	<-both
	winner, loser := one, two
	if w.Wait(time.Second); strings.Contains(sipSince(w.bob, 0), "BYE sip:") {
		winner, loser = two, one
	}
	loser.IsOver()
	proxytest.Talk(out, winner)
	out.HangsUp()
	winner.IsHungUp()
}

func TestLeaksOfCallsThatLeadToOthers(t *testing.T) {
	picked := regexp.MustCompile(*scenario)
	for _, g := range grounds {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range chains {
				if !picked.MatchString(c.name) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					g.plays(t, "always", func(t *testing.T, w *leakStage) {
						w.begins()
						c.play(t, w)
						w.Wait(time.Second)
						w.strangersToEachOther(t, c.name)
					})
				})
			}
		})
	}
}
