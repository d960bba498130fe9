// Package scan has the rules by which every back end goes through what may be
// large: how many rows a search or a step of a prune looks at, in which order,
// where it goes on, and what it gives. The back ends bring the statements that
// read and delete rows.
//
// It is for back ends; others see its rules in package store.
package scan

// Limit is how many rows of an index or a table one search looks at, give or
// take a chunk.
const Limit = 10_000
