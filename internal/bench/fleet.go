package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/auth"
)

// Logins and logouts in progress at one time.
const (
	loginsAtOnce  = 64
	logoutsAtOnce = 64
)

// tokenTTL is for how long the users may stay logged in.
const tokenTTL = 24 * time.Hour

// user is a user with one device.
type user struct {
	id string
	*client.Client
}

// connect logs all users in.
func (b *run) connect(ctx context.Context) error {
	b.users = make([]user, b.cfg.Connections)
	begin := time.Now()
	var up atomic.Int64
	stop := b.progress.every(time.Second, func() string {
		return fmt.Sprintf("connecting: %d of %d", up.Load(), len(b.users))
	})
	defer stop()
	err := inParallel(loginsAtOnce, len(b.users), func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		u, err := b.login(ctx, i)
		if err != nil {
			return fmt.Errorf("user %d of %d: %w", i+1, len(b.users), err)
		}
		b.users[i] = u
		up.Add(1)
		return nil
	})
	b.connectTime = time.Since(begin)
	return err
}

func (b *run) login(ctx context.Context, i int) (user, error) {
	// The name sorts and hashes well, and is not met again in another run.
	id := "bench-" + b.id[:8] + "-" + strconv.Itoa(i)
	token, err := auth.NewToken04(b.cfg.AppID, id, b.cfg.Secret, time.Now(), tokenTTL, "")
	if err != nil {
		return user{}, err
	}
	c, err := client.Dial(ctx, b.cfg.URLs[nodeOf(i, len(b.cfg.URLs), b.cfg.Spread)], client.Options{
		AppID: b.cfg.AppID, UserID: id, Platform: "LINUX", Token: token, OnEvent: b.event,
	})
	return user{id, c}, err
}

// nodeOf is the node of a user. Users 2p and 2p+1 are a pair: the caller is on
// one node and the callee on the next, and the pairs go round all nodes. Spread,
// callee and caller are as often on the same node as on any other two.
func nodeOf(user, nodes int, spread bool) int {
	pair, callee := user/2, user%2
	if spread {
		return (pair + callee*(pair/nodes)) % nodes
	}
	return (pair + callee) % nodes
}

// event is the handler of every client.
func (b *run) event(_ *client.Client, ev client.Event) {
	switch ev := ev.(type) {
	case *client.Invited:
		b.rang(ev.ExtendedData)
	case *client.Disconnected:
		if !b.leaving.Load() {
			b.errs.add("disconnected: " + reason(ev.Err))
		}
	}
}

// disconnect ends all clients. On a server that lives on they log out first,
// so that their sessions do not stay.
func (b *run) disconnect() {
	b.leaving.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Drain)
	defer cancel()
	inParallel(logoutsAtOnce, len(b.users), func(i int) error {
		c := b.users[i].Client
		if c == nil {
			return nil
		}
		if b.server == nil {
			c.Logout(ctx) // it is as well to have tried
		}
		c.Close()
		<-c.Done()
		return nil
	})
}

// inParallel calls f with 0 to n-1, up to limit at a time, and returns the
// first error, after which it begins no more.
func inParallel(limit, n int, f func(int) error) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for range min(limit, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return first
}

// reason makes a kind of error out of an error: without what differs between
// two of a kind.
func reason(err error) string {
	s := err.Error()
	if i := strings.Index(s, "->"); i >= 0 { // addresses of a connection
		if j := strings.Index(s[i:], ": "); j >= 0 {
			s = s[i+j+2:]
		}
	}
	return s
}
