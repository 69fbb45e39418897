package proxy_test

import (
	"testing"

	"sotto/proxy/proxytest"
)

func TestColleaguesTalkDirectly(t *testing.T) {
	proxytest.Run(t, func(t *testing.T, s *proxytest.Stage) {
		s.Alice.Registers()
		s.Bob.Registers()
		out, in := s.Alice.Connect(s.Bob)
		if got := s.Proxy.Totals().Sessions; got != 0 {
			t.Errorf("%d media sessions in a call that needs none", got)
		}
		if len(s.Bob.Knows(s.Alice)) == 0 {
			t.Error("the leak search finds nothing in a call that hides nothing")
		}
		out.HangsUp()
		in.IsHungUp()
	}, proxytest.Colleagues)
}
