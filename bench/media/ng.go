package main

import (
	"net"
	"strconv"
	"time"

	"sotto/internal/ng"
)

// daemon is rtpengine, which is told by the ng protocol what to relay.
type daemon struct {
	*ng.Client
	lab *lab
}

// ngAt is where rtpengine listens for commands.
const ngAt = "127.0.0.1:2223"

func newDaemon(l *lab) (*daemon, error) {
	var conn net.Conn
	err := inside(l.relay, func() (err error) {
		conn, err = net.Dial("udp", ngAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	d := &daemon{ng.New(conn), l}
	return d, d.Ready(5 * time.Second)
}

// describe offers or answers, and returns the port that the other party is told.
func (d *daemon) describe(command string, values map[string]any, sdp []byte) (uint16, error) {
	values["sdp"], values["flags"] = string(sdp), []string{"trust-address"}
	values["ICE"], values["replace"] = "remove", []string{"origin"}
	told, err := d.Ask(command, values)
	if err != nil {
		return 0, err
	}
	at, err := ng.Audio(told["sdp"])
	return at.Port(), err
}

func (d *daemon) setUp(call string, i int) (p pair, err error) {
	values := map[string]any{"call-id": call, "from-tag": "a"}
	toCallee, err := d.describe("offer", values, audio(d.lab.parties[0].addr, callerPort+i))
	if err != nil {
		return p, err
	}
	values["to-tag"] = "b"
	toCaller, err := d.describe("answer", values, audio(d.lab.parties[1].addr, calleePort+i))
	return pair{toCaller, toCallee}, err
}

func (d *daemon) add(first, count int) ([]pair, error) {
	all := make([]pair, 0, count)
	for i := range count {
		p, err := d.setUp("call"+strconv.Itoa(first+i), first+i)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func (d *daemon) churn(count int) error {
	for i := range count {
		call := "brief" + strconv.Itoa(i)
		if _, err := d.setUp(call, i); err != nil {
			return err
		}
		if _, err := d.Ask("delete", map[string]any{"call-id": call, "from-tag": "a"}); err != nil {
			return err
		}
	}
	return nil
}
