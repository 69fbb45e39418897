package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sotto/internal/aor"
	"sotto/proxy"
	"sotto/store"
)

// A desk carries out the verbs of operators and users: in the running server,
// or on the store alone while no server runs.
type desk struct {
	store   *store.Store
	proxy   *proxy.Proxy // nil: no server runs
	domains []string     // that the server serves; none: not known here
	server  *server      // nil: no server runs
}

// verbs are what a desk can do, by name.
func (d *desk) verbs() map[string]func([]string) ([]string, error) {
	return map[string]func([]string) ([]string, error){
		"user add": d.userAdd, "user list": d.userList, "user passwd": d.userPasswd, "user delete": d.userDelete,
		"setting show": d.settingShow, "setting set": d.settingSet,
		"window open": d.windowOpen, "window list": d.windowList, "window close": d.windowClose,
		"block add": d.blockAdd, "block list": d.blockList, "block delete": d.blockDelete,
		"key add": d.keyAdd, "key list": d.keyList, "key delete": d.keyDelete,
		"revoke": d.revoke, "silenced list": d.silencedList, "calls": d.calls,
		"bans list": d.bansList, "bans clear": d.bansClear,
		"status": d.status, "doctor": d.doctor, "explain": d.explain, "rotate": d.rotate, "plane": d.plane,
	}
}

// do carries out one verb.
func (d *desk) do(verb string, args []string) ([]string, error) {
	f := d.verbs()[verb]
	if f == nil {
		return nil, fmt.Errorf("the running server does not know %q", verb)
	}
	lines, err := f(args)
	return lines, d.explained(err)
}

// explained adds what to do to errors of the store.
func (d *desk) explained(err error) error {
	var h *hinted
	switch {
	case err == nil, errors.As(err, &h):
		return err
	case errors.Is(err, store.ErrUnavailable):
		return hint(err, "free some space or end the other program, and try again; nothing was lost")
	}
	return err
}

// user reads an address of record.
func user(text string) (aor.AOR, error) {
	a, err := aor.Parse(text)
	if err != nil {
		return aor.AOR{}, hint(fmt.Errorf("%q is no user", text), "write one as bob@example.com")
	}
	return a, nil
}

// of reads the user in the first argument, who must be there, and goes on.
func (d *desk) of(args []string, do func(aor.AOR) ([]string, error)) ([]string, error) {
	a, err := user(args[0])
	if err != nil {
		return nil, err
	}
	if _, ok := d.store.User(a); !ok {
		return nil, hint(fmt.Errorf("there is no user %s", a), "sotto user list shows all users")
	}
	return do(a)
}

// done is what a verb that changes something says.
func done(err error, format string, args ...any) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf(format, args...)}, nil
}

func (d *desk) userAdd(args []string) ([]string, error) {
	a, err := user(args[0])
	if err != nil {
		return nil, err
	}
	err = d.store.AddUser(a, args[1])
	if errors.Is(err, store.ErrExists) {
		return nil, hint(fmt.Errorf("there is a user %s already", a), "sotto user passwd %s changes the password", a)
	}
	lines, err := done(err, "added %s", a)
	if err == nil && len(d.domains) > 0 && !slices.Contains(d.domains, a.Host()) {
		lines = append(lines, fmt.Sprintf("note: this server serves %s only; add %s to domains in its configuration",
			strings.Join(d.domains, ", "), a.Host()))
	}
	return lines, err
}

func (d *desk) userList([]string) ([]string, error) {
	var lines []string
	for _, u := range d.store.Users() {
		lines = append(lines, u.AOR.String())
	}
	if len(lines) == 0 {
		lines = []string{"no users; sotto user add bob@example.com adds one"}
	}
	return lines, nil
}

func (d *desk) userPasswd(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.SetPassword(a, args[1]), "changed the password of %s", a)
	})
}

func (d *desk) userDelete(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.DeleteUser(a), "deleted %s and everything that belonged to it", a)
	})
}

func (d *desk) settingShow(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		all, err := d.store.ShowSettings(a)
		lines := make([]string, 0, len(all))
		for _, s := range all {
			lines = append(lines, fmt.Sprintf("%-18s %s", s[0], s[1]))
		}
		return lines, err
	})
}

func (d *desk) settingSet(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		name, value := args[1], args[2]
		err := d.store.SetSetting(a, name, value)
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			err = notSetting(name, value)
		}
		return done(err, "%s is %s for %s from the next call on; calls under way keep what they began with", name, value, a)
	})
}

func (d *desk) windowOpen(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		_, err := time.ParseDuration(args[1]) // the setting takes other words, too
		if err == nil {
			err = d.store.SetSetting(a, "window", args[1])
		}
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			err = hint(fmt.Errorf("a window cannot be open for %q", args[1]), "write a time as 30m or 2h, up to 24h")
		}
		until := d.store.Settings(a).WindowUntil.UTC().Format("2006-01-02 15:04 UTC")
		return done(err, "anybody may ring %s until %s", a, until)
	})
}

func (d *desk) windowList([]string) ([]string, error) {
	var lines []string
	for _, u := range d.store.Users() {
		if until := d.store.Settings(u.AOR).WindowUntil; time.Now().Before(until) {
			lines = append(lines, fmt.Sprintf("%s  until %s", u.AOR, until.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
	if len(lines) == 0 {
		lines = []string{"no window is open"}
	}
	return lines, nil
}

func (d *desk) windowClose(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		return done(d.store.SetSetting(a, "window", "off"), "the window of %s is closed from the next call on", a)
	})
}

// notSetting says what may be written instead.
func notSetting(name, value string) error {
	var names []string
	for _, s := range store.SettingNames() {
		if s[0] == name {
			return hint(fmt.Errorf("%s cannot be %q", name, value), "write %s", s[1])
		}
		names = append(names, s[0])
	}
	return hint(fmt.Errorf("no setting is named %q", name), "there are %s", strings.Join(names, ", "))
}

// caller reads whom to block: an address of record, or a whole @domain.
func caller(text string) (string, error) {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		host, err := domain(name)
		return "@" + host, err
	}
	a, err := aor.Parse(text)
	if err != nil {
		return "", hint(fmt.Errorf("%q is no caller", text), "write one as mallory@example.org, or @example.org")
	}
	return a.String(), nil
}

func (d *desk) blockAdd(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		who, err := caller(args[1])
		if err != nil {
			return nil, err
		}
		return done(d.store.Block(a, who), "%s is silenced for %s from the next call on, without notice", who, a)
	})
}

func (d *desk) blockList(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		all, err := d.store.Blocks(a)
		if err == nil && len(all) == 0 {
			all = []string{a.String() + " blocks nobody"}
		}
		return all, err
	})
}

func (d *desk) blockDelete(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		who, err := caller(args[1])
		if err != nil {
			return nil, err
		}
		err = d.store.Unblock(a, who)
		if errors.Is(err, store.ErrNotFound) {
			err = hint(fmt.Errorf("%s does not block %s", a, who), "sotto block list %s shows whom it blocks", a)
		}
		return done(err, "%s is no longer blocked for %s", who, a)
	})
}

func (d *desk) silencedList(args []string) ([]string, error) {
	return d.of(args, func(a aor.AOR) ([]string, error) {
		all, err := d.store.ListSilenced(a, 100)
		if err == nil && len(all) == 0 {
			return []string{"no silenced calls"}, nil
		}
		lines := make([]string, 0, len(all))
		for _, c := range all {
			why := strings.TrimPrefix(c.Reason, "silenced: ")
			lines = append(lines, fmt.Sprintf("%s  %-5s  %s  (%s)",
				c.At.UTC().Format("2006-01-02 15:04 UTC"), c.Media, c.Who(), why))
		}
		return lines, err
	})
}

// notRunning is the error of a verb that needs the server.
func notRunning() error {
	return hint(errors.New("no server is running here"),
		"start one with sotto serve, or name its data directory with --data")
}

// withMedia asks for what the media of calls is like.
const withMedia = "media"

func (d *desk) calls(args []string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	var lines []string
	for _, c := range d.proxy.Calls() {
		kind := "plain"
		if c.Protected {
			kind = "protected"
		}
		lines = append(lines, fmt.Sprintf("%-8s  %-9s  %-9s  %s  %s -> %s", c.Ref, c.State, kind,
			c.Started.UTC().Format("15:04:05"), c.Caller, c.Callee))
		if slices.Contains(args, withMedia) {
			lines = append(lines, glance(d.proxy.Media(c.Ref))...)
		}
	}
	if len(lines) == 0 {
		lines = []string{"no calls"}
	}
	return lines, nil
}

func (d *desk) explain(args []string) ([]string, error) {
	if d.proxy == nil {
		return nil, notRunning()
	}
	lines, ok := d.proxy.Explain(args[0])
	if !ok {
		return nil, hint(fmt.Errorf("no call is named %q", args[0]), "sotto calls lists the calls of the last day")
	}
	return append(lines, inspect(d.proxy.Media(args[0]))...), nil
}
