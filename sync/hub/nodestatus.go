package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NodeStatus is a node of the cluster as the leader of the passages sees it.
type NodeStatus struct {
	Node string `json:"node"`
	// Leads: it orders the passages' writes, and says who else is current.
	Leads bool `json:"leads"`
	// Current: everything that is acknowledged is on its disk. Offline: the
	// leader does not hear of it. Lag is how many writes it is behind.
	Current bool   `json:"current"`
	Offline bool   `json:"offline,omitempty"`
	Lag     uint64 `json:"lag"`
	// HeardSeconds is how long ago the leader heard of it.
	HeardSeconds float64 `json:"heard_seconds"`
}

// Nodes lists the nodes that hold the passages, by name; one, which leads, where
// the server is embedded.
func (h *Hub) Nodes(ctx context.Context) ([]NodeStatus, error) {
	info, err := h.store.passages.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", passagesStream, err)
	}
	if info.Cluster == nil || info.Cluster.Name == "" {
		return []NodeStatus{{Node: "embedded", Leads: true, Current: true}}, nil
	}
	out := []NodeStatus{{Node: info.Cluster.Leader, Leads: true, Current: true}}
	for _, r := range info.Cluster.Replicas {
		out = append(out, NodeStatus{Node: r.Name, Current: r.Current, Offline: r.Offline, Lag: r.Lag, HeardSeconds: r.Active.Round(time.Millisecond).Seconds()})
	}
	slices.SortFunc(out, func(a, b NodeStatus) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}
