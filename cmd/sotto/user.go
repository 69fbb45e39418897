package main

import (
	"bufio"
	"cmp"
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
	PasswordFile string `help:"File with the password in line 1; - is standard input." xor:"password" placeholder:"FILE"`
	Generate     bool   `help:"Make a password and print it once." xor:"password"`
}

// read returns the password. A person is asked twice, without echo.
func (f secretFlags) read(t *tell) (string, error) {
	switch {
	case f.Generate:
		var b [12]byte
		_, err := rand.Read(b[:])
		return base64.RawURLEncoding.EncodeToString(b[:]), err
	case f.PasswordFile == "-" || f.PasswordFile == "" && !term.IsTerminal(int(os.Stdin.Fd())):
		return firstLine(os.Stdin)
	case f.PasswordFile == "":
		return askTwice(t)
	}
	file, err := os.Open(f.PasswordFile)
	if err != nil {
		return "", noPassword(fmt.Errorf("reading password: %w", err))
	}
	defer file.Close()
	return firstLine(file)
}

// noPassword says how to give one.
func noPassword(err error) error {
	return hint(err, "write it on standard input, name a file with --password-file, or use --generate")
}

// maxPassword bounds a password in bytes (ours).
const maxPassword = 1024

// firstLine is the first line of a file.
func firstLine(f *os.File) (string, error) {
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxPassword)
	if !s.Scan() || s.Text() == "" {
		return "", noPassword(cmp.Or(s.Err(), errors.New("no password")))
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
			return "", noPassword(fmt.Errorf("reading password: %w", err))
		}
		got[i] = string(b)
	}
	switch {
	case got[0] != got[1]:
		return "", hint(errors.New("the two passwords are not the same"), "nothing was changed; try again")
	case got[0] == "":
		return "", noPassword(errors.New("no password"))
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

// withPassword carries out a verb that takes a password. One that was made is
// told when the server has it.
func withPassword(p place, t *tell, verb, name string, f secretFlags) error {
	if _, err := user(name); err != nil {
		return err
	}
	password, err := f.read(t)
	if err != nil {
		return err
	}
	if err := p.ask(t, verb, name, password); err != nil {
		return err
	}
	if f.Generate {
		t.say("password: %s", password)
	}
	return nil
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
