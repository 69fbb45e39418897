package proxy_test

import (
	"testing"
	"time"

	"sotto/configs"
	"sotto/proxy/phone"
	"sotto/proxy/proxytest"
)

// mailbox is a voicemail server, as a phone of the fifth address; see mails.
const mailbox = "198.51.100.14"

// mails makes the next phone of a stage the voicemail server.
func mails(c *configs.Config) {
	c.Voicemail = "mail"
	c.Peers = []configs.Peer{{Name: "mail", Target: "sip:" + mailbox + ":5060", Addresses: prefixes(mailbox)}}
}

// mail opens the voicemail server.
func mail(s *proxytest.Stage) *proxytest.Phone {
	return s.Phone("mail", func(c *phone.Config) { c.Domain = "mail.example" })
}

func TestVoicemailTakesStrangersAlike(t *testing.T) {
	stranger(t, func(t *testing.T, s *proxytest.Stage) {
		server := mail(s)
		out := s.Mallory.Invites("bob")
		out.HearsProgress(100)
		began := time.Now()
		in := server.IsCalled()
		if late := time.Since(began); late < 26*time.Second || late > 30*time.Second {
			t.Errorf("voicemail was called after %v", late)
		}
		if user := in.Invite.Recipient.User; user != "bob" {
			t.Errorf("voicemail was called for %q", user)
		}
		in.Answers()
		out.IsAnswered()
		s.Mallory.KnowsNothingOf(server)
		out.HangsUp()
		in.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
		server.KnowsNothingOf(s.Mallory)
	}, mails)
}

func TestVoicemailThatRefusesTellsNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(s *proxytest.Stage, server *proxytest.Phone, out *proxytest.Call)
	}{
		{"refuses", func(_ *proxytest.Stage, server *proxytest.Phone, out *proxytest.Call) {
			server.IsCalled().Refuses(486)
			out.IsRefused(480)
		}},
		{"given up", func(_ *proxytest.Stage, server *proxytest.Phone, out *proxytest.Call) {
			in := server.IsCalled()
			in.Rings()
			out.GivesUp()
			in.IsGivenUp()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stranger(t, func(_ *testing.T, s *proxytest.Stage) {
				server := mail(s)
				c.play(s, server, s.Mallory.Invites("bob"))
			}, mails)
		})
	}
}

// A device that answers when the call has gone on is too late.
func TestVoicemailBeforeALateAnswer(t *testing.T) {
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		server := mail(s)
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		in := s.Bob.IsCalled()
		in.Rings()
		recorder := server.IsCalled()
		in.IsGivenUp()
		recorder.Answers()
		out.IsAnswered()
		proxytest.Talk(out, recorder)
		recorder.HangsUp()
		out.IsHungUp()
		s.Mallory.KnowsNothingOf(s.Bob)
	}, mails)
}

// Where the operator wants honest answers, strangers hear the devices of those
// who do not silence them, and of nobody else.
func TestHonestDomain(t *testing.T) {
	honest := func(c *configs.Config) {
		c.StrangersIn = []configs.DomainStrangers{{Domain: proxytest.Domain, Strangers: "honest"}}
	}
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Mallory.Registers()
		s.Mallory.Invites("bob").IsRefused(480) // not registered
		s.Bob.Registers()
		out := s.Mallory.Invites("bob")
		s.Bob.IsCalled().Refuses(486)
		out.IsRefused(486)
		s.Mallory.Invites("nobody").IsRefused(480)
		s.Set("bob", "silence_strangers", "on")
		s.Bob.Forget()
		s.Mallory.Invites("bob").IsRefused(480)
		s.Wait(time.Minute)
		onlyNotices(t, s.Bob)
	}, honest)
	uniform := func(c *configs.Config) {
		c.Strangers = "honest"
		c.StrangersIn = []configs.DomainStrangers{{Domain: proxytest.Domain, Strangers: "uniform"}}
	}
	proxytest.Run(t, func(_ *testing.T, s *proxytest.Stage) {
		out := s.Mallory.Invites("nobody")
		out.HearsProgress(180)
		out.IsRefused(480)
	}, uniform)
}
