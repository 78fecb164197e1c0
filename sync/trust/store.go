package trust

import (
	"time"

	"greengate/gate"
	"greengate/pass"
	"greengate/pass/hashlist"
	"greengate/pass/statuslist"
)

// Tx is one transaction of the store: all of it is on disk, or none.
type Tx interface {
	// SetMetadata keeps the newest verified metadata of a role, as it came;
	// nil forgets it.
	SetMetadata(role string, raw []byte) error
	// SetKeys replaces all issuer and enterprise keys.
	SetKeys(version uint64, keys []pass.Key, raw []byte) error
	// PutList replaces one generation of a list by another, and keeps raw. It is
	// nil for bits that were staged or that are held under an older signature.
	// The sequence may go down after the keys of its role were rotated.
	PutList(info statuslist.Info, raw []byte) error
	// PatchList makes a generation of the one that is held, by a delta
	// (statuslist.List.Patch). What comes of it must be what info describes.
	PatchList(info statuslist.Info, delta []byte) error
	// DropList forgets a list; one that is not held is no error.
	DropList(uri string) error
	// Confirm says that the authority called what is held of these lists
	// current at this signed time; the age of a list counts from it.
	Confirm(uris []string, issued time.Time) error
	// PutHashes makes a hash list that was staged answer, or describes the held
	// one anew where its bytes are the same.
	PutHashes(info hashlist.Info) error
	// DropHashes forgets a hash list; one that is not held is no error.
	DropHashes(id hashlist.ID) error
	// ConfirmHashes is Confirm for hash lists.
	ConfirmHashes(ids []hashlist.ID, issued time.Time) error
	// SetPolicy replaces the policy in force.
	SetPolicy(p gate.Policy, raw []byte) error
	// SetMap replaces the map.
	SetMap(m gate.RiskMap, raw []byte) error
	// RaiseFloor raises the clock's floor to a signed time; never backwards.
	RaiseFloor(issued time.Time) error
}

// Store keeps what was verified.
type Store interface {
	// Install runs f in one transaction; an error of f undoes it.
	Install(f func(Tx) error) error
	// Metadata returns what SetMetadata kept for the role, nil or empty for nothing.
	Metadata(role string) []byte
	// Stage writes a large list ahead of the transaction that puts it.
	Stage(info statuslist.Info, raw []byte) error
	// Lists describes the lists that are held.
	Lists() []statuslist.Info
	// Bits returns the raw bytes of a list that is held, not to be changed.
	Bits(uri string) []byte
	// Recent says whether somebody came with a code of the list since Recent was
	// last asked for it.
	Recent(uri string) bool
	// Room says whether a list of info's size fits beside those held.
	Room(info statuslist.Info) bool
	// HashLists describes the hash lists of foreign codes that are held.
	HashLists() []hashlist.Info
	// StageHashes writes a hash list ahead of the transaction that puts it.
	StageHashes(info hashlist.Info, file []byte) error
	// StageHashDelta does so with what changed since the held generation; what
	// comes of it must be what info describes.
	StageHashDelta(info hashlist.Info, changes []hashlist.Change) error
	// Policy in force, for how old lists may get.
	Policy() gate.Policy
}
