package main

import (
	"errors"
	"io/fs"
	"os"

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
	t.say("%s is good: serving %v, %d listeners, %d peers", c.Config, cfg.Domains, len(cfg.Listen), len(cfg.Peers))
	return nil
}

// loadConfig reads a configuration file; without one, the defaults.
func loadConfig(path string) (configs.Config, error) {
	if path == "" {
		return configs.Default(), nil
	}
	cfg, err := configs.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cfg, hint(err, "without -c the server starts with the defaults; configs/sotto.yaml is an example")
	case errors.Is(err, os.ErrPermission):
		return cfg, hint(err, "let the user who runs sotto read it")
	}
	return cfg, err
}
