package proxy

import (
	"testing"
	"time"

	"sotto/rtpengine"
)

// A call keeps what its first sessions were like, as long as it is kept itself.
func TestKeptMediaIsBounded(t *testing.T) {
	calls, key, began := newCallTable(), callKey{"a", "b"}, time.Now()
	calls.begin(&record{key: key, CallInfo: CallInfo{Ref: "ref", Started: began, Answered: began}})
	for id := rtpengine.ID(1); id <= 2*keptMedia; id++ {
		calls.anchored(key, id)
		calls.measured(id, rtpengine.Report{})
	}
	calls.measured(99, rtpengine.Report{}) // nobody's
	calls.end(key, "hung up", began)
	calls.measured(1, rtpengine.Report{}) // too late
	if kept, live, answered := calls.mediaOf("ref"); len(kept) != keptMedia || len(live) != 0 || !answered {
		t.Errorf("%d are kept, %d live, answered %v", len(kept), len(live), answered)
	}
	calls.forget(began.Add(keptFor + time.Second))
	if kept, _, _ := calls.mediaOf("ref"); len(kept) != 0 {
		t.Errorf("after a day %d are kept", len(kept))
	}
}
