package webhook

import "sync"

// parting waits for what is under way of items that were forgotten.
type parting struct {
	mu   sync.Mutex
	left int
	over chan struct{} // closed when nothing is left
}

func (p *parting) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}

func (p *parting) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		close(p.over)
	}
}
