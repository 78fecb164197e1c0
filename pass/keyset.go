package pass

import "errors"

// ParseKeySet reads a key list as [MarshalKeySet] writes it.
func ParseKeySet(data []byte) ([]Key, error) { return nil, errors.ErrUnsupported }

// MarshalKeySet writes a key list.
func MarshalKeySet(keys []Key) ([]byte, error) { return nil, errors.ErrUnsupported }

// KeyMap finds keys by their kid. It implements [Keys].
type KeyMap map[string][]Key

// NewKeyMap returns the keys, found by kid.
func NewKeyMap(keys []Key) KeyMap {
	m := make(KeyMap, len(keys))
	for _, k := range keys {
		m[string(k.ID)] = append(m[string(k.ID)], k)
	}
	return m
}

// Keys returns all keys with this kid.
func (m KeyMap) Keys(kid []byte) []Key { return m[string(kid)] }
