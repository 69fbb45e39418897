package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// The control socket: how a command line reaches the running server. Only
// the user who runs the server may open it.

// ctlSocket is its path.
func ctlSocket(dataDir string) string { return filepath.Join(dataDir, "ctl.sock") }

// A ctlAsk is a verb and its arguments; a ctlReply what came of it.
type (
	ctlAsk struct {
		Verb string   `json:"verb"`
		Args []string `json:"args"`
	}
	ctlReply struct {
		Lines []string `json:"lines,omitempty"`
		Error string   `json:"error,omitempty"`
		Hint  string   `json:"hint,omitempty"`
	}
)

// Limits (ours): a command line is short, and a person waits for the answer.
const (
	ctlMaxAsk  = 64 << 10
	ctlTimeout = 10 * time.Second
	ctlRetry   = 50 * time.Millisecond
)

// A ctlServer serves the control socket.
type ctlServer struct {
	http *http.Server
	done chan struct{}
}

// serveCtl opens the socket. One that a killed server left is replaced: the
// claim on the directory says that no other runs.
func serveCtl(s *server) (*ctlServer, error) {
	path := ctlSocket(s.cfg.DataDir)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("opening control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, hint(fmt.Errorf("opening control socket: %w", err),
			"the system allows about 100 characters for its path; set a shorter data_dir")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	c := &ctlServer{
		http: &http.Server{
			Handler:     &desk{store: s.store, proxy: s.proxy, domains: s.cfg.Domains, server: s},
			ReadTimeout: ctlTimeout, WriteTimeout: ctlTimeout,
			ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(c.done)
		_ = c.http.Serve(l) // always ErrServerClosed
	}()
	return c, nil
}

// close closes the socket; a request under way is finished.
func (c *ctlServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), ctlTimeout)
	defer cancel()
	_ = c.http.Shutdown(ctx) // what is left is cut off with the process
	<-c.done
}

// ServeHTTP implements http.Handler: one verb.
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ask ctlAsk
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, ctlMaxAsk)).Decode(&ask); err != nil {
		http.Error(w, "not a request", http.StatusBadRequest)
		return
	}
	lines, err := d.do(ask.Verb, ask.Args)
	reply := ctlReply{Lines: lines}
	if err != nil {
		reply.Error = err.Error()
		var h *hinted
		if errors.As(err, &h) {
			reply.Hint = h.hint
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply) // the asker is gone
}

// A place is where the server that a verb is about keeps its data.
type place struct {
	Data string `help:"Data directory of the server." default:"data" env:"SOTTO_DATA" type:"path"`
}

// ask has the running server carry out a verb; while none runs, the verb is
// carried out on its store.
func (p place) ask(t *tell, verb string, args ...string) error {
	lines, err := p.asked(t, verb, args)
	for _, l := range lines {
		t.say("%s", l)
	}
	return err
}

func (p place) asked(t *tell, verb string, args []string) ([]string, error) {
	path := ctlSocket(p.Data)
	for deadline := time.Now().Add(ctlTimeout); ; time.Sleep(ctlRetry) {
		c, err := net.DialTimeout("unix", path, ctlTimeout)
		if err == nil {
			_ = c.Close()
			return askServer(path, ctlAsk{verb, args})
		}
		lines, err := p.alone(t, verb, args)
		switch {
		case !errors.Is(err, errClaimed):
			return lines, err
		case time.Now().After(deadline): // it was about to start, or to end
			return nil, hint(err, "a server that is starting or ending has it; try again")
		}
	}
}

// alone carries out a verb without a server.
func (p place) alone(t *tell, verb string, args []string) ([]string, error) {
	// Without the file there is nothing to carry out a verb on: to open it would
	// make one wherever --data has a typing error.
	_, err := os.Stat(storeFile(p.Data))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, hint(err, "run this as the user who runs the server")
	case err != nil:
		return nil, hint(fmt.Errorf("no server has its data in %s", p.Data),
			"start one with sotto serve, or name its data directory with --data")
	}
	release, err := claimNow(p.Data)
	if err != nil {
		return nil, err
	}
	defer release()
	log := slog.New(slog.NewTextHandler(t.err, nil))
	s, err := openStore(p.Data, log)
	if err != nil {
		return nil, err
	}
	lines, err := (&desk{store: s}).do(verb, args)
	return lines, errors.Join(err, s.Close())
}

// askServer asks over the control socket.
func askServer(path string, ask ctlAsk) ([]string, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: ctlTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	defer client.CloseIdleConnections()
	res, err := client.Post("http://sotto/", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking the running server: %w", err)
	}
	defer res.Body.Close()
	var reply ctlReply
	if err := json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(&reply); err != nil {
		return nil, fmt.Errorf("reading the server's reply: %w", err)
	}
	switch {
	case reply.Error == "":
		return reply.Lines, nil
	case reply.Hint == "":
		return reply.Lines, errors.New(reply.Error)
	}
	return reply.Lines, hint(errors.New(reply.Error), "%s", reply.Hint)
}
