// Package deploy has files for running Ringback under systemd, in a container
// and on several nodes. It holds nothing but their tests.
package deploy
