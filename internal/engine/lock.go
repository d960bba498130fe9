package engine

// lock is a mutex that may be held while the store is asked. Who waits for it
// is durably blocked, as testing/synctest has it, so that the clock of a bubble
// goes on when the holder sleeps, as SQLite does for a microsecond when two
// connections are in each other's way. With a sync.Mutex it would stand still
// for good. It is made by newLock.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }
