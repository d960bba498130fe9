package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Nodes are those that share the store, as the one that answers sees them.
type Nodes struct {
	AtMS       int64  `json:"at_ms"`
	Clustered  bool   `json:"clustered" doc:"Whether the store is one that nodes can share. If not, the one node is all there is"`
	Partitions int    `json:"partitions" doc:"The parts into which calls and deliveries are divided"`
	Unheld     int    `json:"unheld" doc:"Partitions that no node holds: their timers and callbacks wait. For some seconds that is so after a node has died"`
	Bus        Bus    `json:"bus"`
	Trouble    string `json:"trouble,omitempty" doc:"Why the node that answers cannot do its part, and what to do"`
	Items      []Node `json:"items" doc:"Those that live, in the order in which they joined"`
}

// Bus is how the node that answers hears of the others.
type Bus struct {
	State   string `json:"state" enum:"none,connected,disconnected" doc:"none: the configuration has no nats"`
	Trouble string `json:"trouble,omitempty" doc:"What is wrong with it, and what to do"`
}

// Node is a node that lives: it has renewed its lease in time.
type Node struct {
	Name       string `json:"name"`
	Self       bool   `json:"self" doc:"It is the one that answers"`
	Partitions int    `json:"partitions" doc:"How many it holds: of their calls and deliveries it runs the timers and makes the requests"`
	JoinedAtMS int64  `json:"joined_at_ms" doc:"When it began, or began again because it had been cut off"`
}

func (a *API) registerNodes() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-nodes", Method: http.MethodGet, Path: Path + "/nodes", Summary: "List the nodes that share the store", Tags: []string{"Overview"},
		Description: "As the node that answers sees them. Without a store that nodes can share there is one, and it holds everything.",
		Errors:      []int{http.StatusInternalServerError},
	}, func(context.Context, *struct{}) (*output[Nodes], error) {
		return &output[Nodes]{a.Nodes()}, nil
	})
}
