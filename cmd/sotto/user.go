package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// userCmd has the verbs about users.
type userCmd struct {
	Add    userAddCmd    `cmd:"" help:"Add a user."`
	List   userListCmd   `cmd:"" help:"List all users."`
	Passwd userPasswdCmd `cmd:"" help:"Change a user's password."`
	Delete userDeleteCmd `cmd:"" help:"Delete a user and everything that belongs to it."`
}

// secretFlags say where a password comes from.
type secretFlags struct {
	PasswordFile string `help:"File with the password in its first line; - is standard input." placeholder:"FILE"`
	Generate     bool   `help:"Make a password and print it once."`
}

// read returns the password. A person is asked twice, without echo.
func (f secretFlags) read(t *tell) (string, error) {
	switch {
	case f.Generate:
		var b [12]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", err
		}
		p := base64.RawURLEncoding.EncodeToString(b[:])
		t.say("password: %s", p)
		return p, nil
	case f.PasswordFile == "-" || f.PasswordFile == "" && !isTerminal(os.Stdin):
		return firstLine(os.Stdin)
	case f.PasswordFile != "":
		file, err := os.Open(f.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("reading password: %w", err)
		}
		defer file.Close()
		return firstLine(file)
	}
	return askTwice(t)
}

// maxPassword bounds a password in bytes (ours).
const maxPassword = 1024

// firstLine is the first line of a file.
func firstLine(f *os.File) (string, error) {
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxPassword)
	if !s.Scan() || s.Text() == "" {
		return "", hint(errors.New("no password"), "write it on standard input, or use --generate")
	}
	return strings.TrimSuffix(s.Text(), "\r"), nil
}

// askTwice asks a person.
func askTwice(t *tell) (string, error) {
	var got [2]string
	for i, prompt := range []string{"password: ", "again: "} {
		fmt.Fprint(t.err, prompt)
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(t.err)
		if err != nil {
			return "", fmt.Errorf("reading password: %w", err)
		}
		got[i] = string(b)
	}
	if got[0] == "" || got[0] != got[1] {
		return "", errors.New("the two are not the same")
	}
	return got[0], nil
}

type userAddCmd struct {
	place
	secretFlags
	User string `arg:"" help:"The user, as bob@example.com."`
}

// Run implements the verb.
func (c *userAddCmd) Run(t *tell) error {
	return withPassword(c.place, t, "user add", c.User, c.secretFlags)
}

// withPassword carries out a verb that takes a password.
func withPassword(p place, t *tell, verb, name string, f secretFlags) error {
	if _, err := user(name); err != nil {
		return err
	}
	password, err := f.read(t)
	if err != nil {
		return err
	}
	return p.ask(t, verb, name, password)
}

type userPasswdCmd struct {
	place
	secretFlags
	User string `arg:"" help:"The user, as bob@example.com."`
}

// Run implements the verb.
func (c *userPasswdCmd) Run(t *tell) error {
	return withPassword(c.place, t, "user passwd", c.User, c.secretFlags)
}

type userListCmd struct{ place }

// Run implements the verb.
func (c *userListCmd) Run(t *tell) error { return c.ask(t, "user list") }

type userDeleteCmd struct {
	place
	User string `arg:"" help:"The user, as bob@example.com."`
}

// Run implements the verb.
func (c *userDeleteCmd) Run(t *tell) error { return c.ask(t, "user delete", c.User) }
