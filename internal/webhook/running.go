package webhook

import "errors"

// Running gives an error when the Deliverer is not at work: before Start and
// after Close. An endpoint that fails does not change it.
func (d *Deliverer) Running() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.started || d.closed {
		return errors.New("webhook: the deliverer is not running")
	}
	return nil
}
