// Package coalesce lets packets gather in the receive queues of busy network
// interfaces, as a card does by itself that has interrupt coalescing
// (ethtool -C rx-usecs): many of them share an interrupt, the wake-up of the
// thread that receives them and that of the relay.
//
// The system polls a queue while packets come (NAPI). With
// napi_defer_hard_irqs it looks again when gro_flush_timeout has passed,
// before it has the interface interrupt again; when nothing has come by then,
// it does, and the next packet is not delayed.
//
// Both are the interface's: what else comes by it gathers, too. So they are
// set while it is worth it (rate.go), and 0, the system's default, otherwise
// and in the end. A process that is killed leaves them as they were last, which
// costs nothing but that delay; the next one takes them over.
package coalesce

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// How often rates are looked at (ours: calls come in seconds). With a few
// interfaces a look takes 0.1 ms; with hundreds there are fewer of them, so that
// they take no more than a part of a processor's time.
const (
	every  = 100 * time.Millisecond
	rarely = time.Second
	part   = 100
)

// A Coalescer sets the interfaces of a network namespace. Its methods are safe
// for concurrent use.
type Coalescer struct {
	most   time.Duration
	log    *slog.Logger
	links  *netlink.Handle
	queues queues
	known  map[int]*device // by index; run's own
	stop   chan struct{}
	wait   sync.WaitGroup

	gathers atomic.Pointer[map[string]time.Duration] // by name, as Gathers says; it is replaced, never changed
}

// A device is an interface.
type device struct {
	name  string
	rate  rate
	wants time.Duration // last set; -1: not known
	fails bool          // it could not be set, and that was said
}

// queues set how long packets may gather at an interface's receive queues.
type queues interface {
	// set fails with errGone if there is no such interface any more.
	set(index int, name string, gather time.Duration) error
	close()
}

// errGone says that there is no such interface, or that it has no queues.
var errGone = errors.New("no such interface")

// Open begins to coalesce what comes by the interfaces of the caller's network
// namespace; a packet waits for most at the most. It takes CAP_NET_ADMIN and
// Linux 6.13, or a writable /sys of this namespace and Linux 5.8, and says what
// is missing.
func Open(most time.Duration, log *slog.Logger) (*Coalescer, error) {
	q, err := openQueues()
	if err != nil {
		return nil, err
	}
	return open(most, q, log)
}

func open(most time.Duration, q queues, log *slog.Logger) (*Coalescer, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		q.close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &Coalescer{most: most, log: log, links: h, queues: q, stop: make(chan struct{}), known: map[int]*device{}}
	c.gathers.Store(&map[string]time.Duration{})
	c.wait.Go(c.run)
	return c, nil
}

// Probe says what Open would, and changes nothing.
func Probe() error {
	q, err := openQueues()
	if err != nil {
		return err
	}
	q.close()
	return nil
}

// Active says that packets gather at some interface: whoever waits for them
// need not have them gather once more. A nil Coalescer has none.
func (c *Coalescer) Active() bool { return c != nil && len(*c.gathers.Load()) > 0 }

// Gathers is how long packets gather, by interface; those that are left alone
// are not in it. A nil Coalescer has none. The map is not to be changed.
func (c *Coalescer) Gathers() map[string]time.Duration {
	if c == nil {
		return nil
	}
	return *c.gathers.Load()
}

// Close leaves all interfaces as the system has them.
func (c *Coalescer) Close() {
	close(c.stop)
	c.wait.Wait()
	for index, d := range c.known {
		if d.wants != 0 {
			c.apply(index, d, 0)
		}
	}
	c.links.Close()
	c.queues.close()
}

func (c *Coalescer) run() {
	for {
		now := time.Now()
		c.look(now)
		select {
		case <-c.stop:
			return
		case <-time.After(min(max(every, part*time.Since(now)), rarely)):
		}
	}
}

// look sets each interface as its rate asks for.
func (c *Coalescer) look(now time.Time) {
	all, err := c.links.LinkList()
	if err != nil {
		return // the next time will tell; what is set holds
	}
	there := map[int]bool{}
	for _, l := range all {
		a := l.Attrs()
		if a.Flags&net.FlagLoopback != 0 || a.Flags&net.FlagUp == 0 || a.Statistics == nil {
			continue
		}
		there[a.Index] = true
		d := c.known[a.Index]
		if d == nil || d.name != a.Name {
			d = &device{name: a.Name, wants: -1}
			c.known[a.Index] = d
		}
		if wants := d.rate.gather(a.Statistics.RxPackets, now, c.most); wants != d.wants {
			c.apply(a.Index, d, wants)
		}
	}
	c.forget(there)
	gathers := map[string]time.Duration{}
	for _, d := range c.known {
		if d.wants > 0 {
			gathers[d.name] = d.wants
		}
	}
	c.gathers.Store(&gathers)
}

// forget is for interfaces that are down or gone. One that is up again may find
// nobody who sets it back.
func (c *Coalescer) forget(but map[int]bool) {
	for index, d := range c.known {
		if but[index] {
			continue
		}
		if d.wants > 0 {
			c.apply(index, d, 0)
		}
		delete(c.known, index)
	}
}

// apply sets one interface. What cannot be set is said once.
func (c *Coalescer) apply(index int, d *device, wants time.Duration) {
	switch err := c.queues.set(index, d.name, wants); {
	case err == nil:
		d.wants, d.fails = wants, false
	case errors.Is(err, errGone):
		d.wants = 0
	default:
		if !d.fails {
			c.log.Warn("packets do not gather at an interface", "interface", d.name, "err", err)
		}
		d.fails = true
	}
}
