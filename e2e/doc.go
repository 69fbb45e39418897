// Package e2e calls through a real server with real phones. Each phone and the
// server has a network namespace of its own, and each link is captured, so
// that a test can say what a party's line carried and not only what a program
// believed.
//
// The tests need root, Linux and the programs that scripts/deps.sh installs.
// Without these they are skipped and say so; with CI set in the environment
// that is an error.
package e2e
