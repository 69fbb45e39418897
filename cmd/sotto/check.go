package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strings"

	"sotto/configs"
)

// checkCmd checks a configuration file.
type checkCmd struct {
	Config string `arg:"" help:"The configuration file." type:"path"`
}

// Run implements the verb.
func (c *checkCmd) Run(t *tell) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if err := refused(cfg); err != nil {
		return err
	}
	t.say("%s is good", c.Config)
	t.say("domains  %s", strings.Join(cfg.Domains, ", "))
	t.say("listen   %s", strings.Join(listeners(cfg.Listen), ", "))
	t.say("peers    %s", cmp.Or(strings.Join(peerNames(cfg.Peers), ", "), "none"))
	if cfg.Metrics.IsValid() {
		t.say("metrics  %s", cfg.Metrics)
	}
	t.say("data     %s", cfg.DataDir)
	return nil
}

// Nothing says on which address media is relayed, and what to do about it.
const (
	noMedia   = "there is no address for media: listen has none of its own"
	nameMedia = "media: {addresses: [192.0.2.1]}, or behind a 1:1 NAT [10.0.0.5=192.0.2.1]"
)

// refused is why a server would not start with a configuration whose text is
// good. An upgrade (SIGUSR2) asks for it before the server that runs is given up.
func refused(cfg configs.Config) error {
	if err := portsFit(cfg.Media.Ports); err != nil {
		return err
	}
	if everybody, _ := relayAddresses(cfg); len(everybody) == 0 {
		return hint(errors.New(noMedia), nameMedia)
	}
	if cfg.TLS.Cert == "" {
		return nil // the server makes one
	}
	_, err := (&server{cfg: cfg}).certificate()
	return err
}

func listeners(all []configs.Listen) []string {
	var texts []string
	for _, l := range all {
		texts = append(texts, l.Transport+" "+l.Addr.String())
	}
	return texts
}

func peerNames(all []configs.Peer) []string {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}

// loadConfig reads a configuration file; without one, the defaults.
func loadConfig(path string) (configs.Config, error) {
	if path == "" {
		return configs.Default(), nil
	}
	cfg, err := configs.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cfg, hint(err, "configs/sotto.yaml is an example; without a file the server serves localhost")
	case errors.Is(err, os.ErrPermission):
		return cfg, hint(err, "let the user who runs sotto read it")
	case err != nil: // package configs writes the remedy behind a semicolon
		what, remedy, found := strings.Cut(err.Error(), "; ")
		if found {
			err = hint(errors.New(what), "%s", remedy)
		}
	}
	return cfg, err
}
