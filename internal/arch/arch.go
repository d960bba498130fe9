// Package arch holds the tests that keep the structure of the project: which
// package may import which, that every package says what it is for, and that
// files stay readable. It has no code of its own.
package arch
