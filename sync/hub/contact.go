package hub

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"greengate/gate"
)

const (
	// contactPrefix is the subject, before the gate's id, on which hubs tell each
	// other of gates that they heard of. Nothing of it is stored: the next contact is a minute away.
	contactPrefix = "contact."
	// maxContact bounds one such message.
	maxContact = 1 << 10
)

// errContact: what came over contact.GATE is not of a hub like this one.
var errContact = errors.New("not a contact")

// contact is what one hub tells the others. The moment is not in it: it is the
// listener's own, so that no two clocks are compared.
type contact struct {
	// Hub is the one that heard of the gate: each hears itself too.
	Hub     string `json:"hub"`
	Backlog uint64 `json:"backlog"`
	// Instance is the run of the gate's program that spoke, "" for not told.
	Instance string `json:"instance,omitempty"`
	// Condition as the gate wrote it, "" for nothing said.
	Condition string `json:"condition,omitempty"`
}

// parseContact reads what another hub told.
func parseContact(data []byte) (contact, *gate.Condition, error) {
	if len(data) > maxContact {
		return contact{}, nil, fmt.Errorf("%w: %d bytes, at most %d", errContact, len(data), maxContact)
	}
	var c contact
	if err := decodeStrict(data, &c); err != nil {
		return contact{}, nil, fmt.Errorf("%w: %w", errContact, err)
	}
	if c.Instance != "" && !instancePattern.MatchString(c.Instance) {
		return contact{}, nil, fmt.Errorf("%w: instance %.40q", errContact, c.Instance)
	}
	if c.Condition == "" {
		return c, nil, nil
	}
	said, err := gate.ParseCondition(c.Condition)
	if err != nil {
		return contact{}, nil, fmt.Errorf("%w: %w", errContact, err)
	}
	return c, &said, nil
}

// heard notes a gate's contact, here and at the other hubs.
func (h *Hub) heard(id string, backlog uint64, said *gate.Condition, instance string) {
	h.fleet.contact(id, h.options.Now(), backlog, said)
	c := contact{Hub: h.self, Backlog: backlog, Instance: instance}
	if said != nil {
		c.Condition = said.String()
	}
	data, err := json.Marshal(c)
	if err == nil {
		err = h.store.conn.Publish(contactPrefix+id, data)
	}
	if err != nil {
		// The other hubs hear of it with its next contact.
		h.log.Debug("contact not told to other hubs", "gate", id, "err", err)
	}
}

// hearOthers notes what other hubs hear of gates.
func (h *Hub) hearOthers() error {
	h.self = rand.Text()
	_, err := h.store.conn.Subscribe(contactPrefix+"*", func(m *nats.Msg) {
		id := strings.TrimPrefix(m.Subject, contactPrefix)
		c, said, err := parseContact(m.Data)
		if err != nil || !gatePattern.MatchString(id) {
			h.log.Warn("another hub's contact not understood", "err", err)
			return
		}
		if c.Hub != h.self {
			h.fleet.contact(id, h.options.Now(), c.Backlog, said)
			h.fleet.instance(id, c.Instance)
		}
	})
	if err != nil {
		return fmt.Errorf("contacts of other hubs: %w", err)
	}
	return nil
}
