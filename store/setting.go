package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sotto/internal/aor"
)

// Protect says in which calls a user's address is protected.
type Protect uint8

// The zero value is the strictest.
const (
	Always    Protect = iota
	Strangers         // unless the other party is known to the user
	Never
)

// String is the name that the user writes.
func (p Protect) String() string { return protectNames[min(int(p), len(protectNames)-1)] }

var protectNames = []string{"always", "strangers", "never"}

// Settings are what a user may change while the server runs. The zero value
// is the strictest: it is what an unknown user has.
type Settings struct {
	ProtectIP     Protect
	RingStrangers bool      // strangers may ring
	RecentDays    int       // who was called in so many days may call back; 0: nobody
	SilentNotices bool      // no notice of silenced calls
	WindowUntil   time.Time // until then anybody may ring
	OpenUses      int       // how many calls each of the user's open tokens lets ring
}

// DefaultSettings are a new user's.
func DefaultSettings() Settings {
	return Settings{ProtectIP: Strangers, RingStrangers: true, RecentDays: 7, OpenUses: 10}
}

// A setting is one name that a user may set.
type setting struct {
	name   string
	values string // what may be written, for the user
	set    func(*Settings, string) error
	get    func(Settings) string
}

// maxRecentDays is how long a recent-call hash is kept at most (ours).
const maxRecentDays = 90

// settings are all there are, in the order in which they are shown.
func settings() []setting {
	return []setting{
		{
			"protect_ip", "always, strangers or never", setProtect,
			func(s Settings) string { return s.ProtectIP.String() },
		},
		{
			"silence_strangers", "on or off",
			func(s *Settings, v string) error {
				on, err := onOff(v)
				s.RingStrangers = !on
				return err
			},
			func(s Settings) string { return named(!s.RingStrangers) },
		},
		{
			"recent_days", "a number of days from 0 (off) to 90", setRecent,
			func(s Settings) string { return strconv.Itoa(s.RecentDays) },
		},
		{
			"notices", "on or off",
			func(s *Settings, v string) error {
				on, err := onOff(v)
				s.SilentNotices = !on
				return err
			},
			func(s Settings) string { return named(!s.SilentNotices) },
		},
		{"window", "a time as 30m or 2h, or off", setWindow, showWindow},
		{
			"open_uses", "a number of calls from 0 to 1000", setOpenUses,
			func(s Settings) string { return strconv.Itoa(s.OpenUses) },
		},
	}
}

func setProtect(s *Settings, v string) error {
	for i, n := range protectNames {
		if v == n {
			s.ProtectIP = Protect(i)
			return nil
		}
	}
	return errValue
}

func setRecent(s *Settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > maxRecentDays {
		return errValue
	}
	s.RecentDays = n
	return nil
}

// maxOpenUses bounds the calls of an open token (ours: who wants more does not
// want to silence strangers).
const maxOpenUses = 1000

func setOpenUses(s *Settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > maxOpenUses {
		return errValue
	}
	s.OpenUses = n
	return nil
}

// maxWindow bounds "expecting a call" (ours: longer is not silencing).
const maxWindow = 24 * time.Hour

// setWindow takes a duration from now, "off", or the time that load reads back.
func setWindow(s *Settings, v string) error {
	if v == "off" {
		s.WindowUntil = time.Time{}
		return nil
	}
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		s.WindowUntil = t
		return nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > maxWindow {
		return errValue
	}
	s.WindowUntil = time.Now().Add(d).Truncate(time.Second)
	return nil
}

func showWindow(s Settings) string {
	if !time.Now().Before(s.WindowUntil) {
		return "off"
	}
	return "until " + s.WindowUntil.UTC().Format("2006-01-02 15:04 UTC")
}

var errValue = fmt.Errorf("bad value")

func onOff(v string) (bool, error) {
	switch v {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, errValue
}

func named(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// stored is what is written down of a setting: for a window its end.
func stored(d setting, s Settings) string {
	if d.name == "window" && !s.WindowUntil.IsZero() {
		return s.WindowUntil.UTC().Format(time.RFC3339)
	}
	return d.get(s)
}

func (s *Store) loadSettings(ctx context.Context) error {
	return s.rows(ctx, "SELECT aor, name, value FROM setting", func(r *sql.Rows) error {
		var a, name, value string
		if err := r.Scan(&a, &name, &value); err != nil {
			return err
		}
		e := s.byText(a)
		for _, d := range settings() {
			if e != nil && d.name == name {
				if err := d.set(&e.settings, value); err != nil {
					return fmt.Errorf("setting %s of a user: %w", name, err)
				}
			}
		}
		return nil
	})
}

// byText is a user's entry by its address as the file has it.
func (s *Store) byText(text string) *entry {
	a, err := aor.Parse(text)
	if err != nil {
		return nil
	}
	return s.users[a]
}

// Settings returns a user's settings; of an unknown user the strictest.
func (s *Store) Settings(a aor.AOR) Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.users[a]; e != nil {
		return e.settings
	}
	return Settings{}
}

// SettingNames lists the names and what may be written for each.
func SettingNames() [][2]string {
	var all [][2]string
	for _, d := range settings() {
		all = append(all, [2]string{d.name, d.values})
	}
	return all
}

// ShowSettings returns name and value of each setting of a user.
func (s *Store) ShowSettings(a aor.AOR) ([][2]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.users[a]
	if e == nil {
		return nil, fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	var all [][2]string
	for _, d := range settings() {
		all = append(all, [2]string{d.name, d.get(e.settings)})
	}
	return all, nil
}

// SetSetting validates, stores, and only then changes a setting; the next
// call reads it. The error of a bad name or value says what may be written.
func (s *Store) SetSetting(a aor.AOR, name, value string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	e := s.users[a]
	if e == nil {
		return fmt.Errorf("user %s: %w", a, ErrNotFound)
	}
	var names []string
	for _, d := range settings() {
		names = append(names, d.name)
		if d.name != name {
			continue
		}
		next := e.settings
		if err := d.set(&next, value); err != nil {
			return fmt.Errorf("%s cannot be %q; write %s", name, value, d.values)
		}
		err := s.exec("INSERT INTO setting (aor, name, value) VALUES (?, ?, ?) "+
			"ON CONFLICT (aor, name) DO UPDATE SET value = excluded.value", a.String(), name, stored(d, next))
		if err != nil {
			return err
		}
		s.change(func() { e.settings = next })
		return nil
	}
	return fmt.Errorf("no setting is named %q; there are %s", name, strings.Join(names, ", "))
}
