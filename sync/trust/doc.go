// Package trust brings signed lists in: keys, status lists, map and policy,
// by the client workflow of The Update Framework (specification 1.0.x, section
// 5) from any server of plain files, or from a folder.
//
// The checks of metadata are go-tuf's; what is persisted, when, and what a
// role may deliver is decided here.
//
// # What is stored when
//
// A root is stored as soon as it is verified. Timestamp, snapshot and targets
// are stored in one transaction; a delegated role's metadata only in the
// transaction with the last of what it describes. One status list is the unit
// of consistency: it is stored by itself as soon as it is verified, and the
// old generation answers until then. What is missing is seen by comparing what
// is held with what is described, so a run that was cut anywhere is finished
// by the next.
//
// While nothing changes but the signed time, the newest timestamp is kept in
// memory and written every 15 minutes, or four times within the policy's
// stale_after where that is shorter: a card is not to be worn by "no news".
//
// # What a role may deliver
//
//	keys       keys/keys.json
//	policy     policy/policy.json
//	map        map/map.json
//	revocation revocation/SCHEME/KID/PART.ghl, of which a gate holds the schemes that it is configured for
//	status-33  status/33*/NUMBER.tsl, whose signed URI ends in the same REGION/NUMBER
//	release    release/NAME; gates fetch none of it yet
//
// Targets delegates these paths, and the client holds to them whatever targets
// says. So a stolen online key recolours its own province, or the map, and
// nothing else.
//
// # How a list comes in
//
// By a delta from what is held, where the signed description names one that is
// shorter than the list; else whole. What comes of a delta must have the signed
// digest, or the list is fetched whole in the same run. Lists go to the store in
// transactions of up to 4 MiB. Those that nobody configured make room for others.
//
// # What does not come
//
// A list that is absent is asked for at once when somebody stands at the gate
// with a code of it, and no more than once in a poll after that. A list that was
// fetched and then refused, by its checks or for want of room, is fetched again
// at the next poll, and ever more rarely after that.
//
// # Time
//
// One run has one reference time: the clock's, or the last signed time where
// that is later or the clock is unset. Expiry of metadata governs what is
// accepted; how long a list may be used is the policy's matter.
package trust
