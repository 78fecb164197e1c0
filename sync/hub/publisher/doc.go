// Package publisher writes what gates trust as plain files: a repository of
// The Update Framework (specification 1.0.x) with consistent snapshots, in a
// folder that any web server, cache or USB stick can carry.
//
// # Roles
//
// Root and targets have three keys each, of which two must sign; keys, policy
// and release have two, and both must sign. Those are offline: they lie under
// keys/offline, which may be a folder on a stick that is away most of the
// time. Timestamp, snapshot, the daily map and one status role for each province
// have one key each under keys/online, and that is all that recolouring needs.
//
//	root ── timestamp, snapshot          online
//	     └─ targets                      offline, 2 of 3
//	         ├─ keys       keys/keys.json                     offline, 2 of 2
//	         ├─ policy     policy/policy.json                 offline, 2 of 2
//	         ├─ map        map/map.json                       online
//	         ├─ release    release/*: software for gates      offline, 2 of 2
//	         ├─ revocation revocation/*/*/*.ghl               online
//	         └─ status-33  status/33*/*.tsl                   online, one a province
//
// # Files
//
//	metadata/timestamp.json               written last, so it makes a publish visible
//	metadata/N.root.json                  every version is kept for ever
//	metadata/N.snapshot.json, N.ROLE.json
//	targets/keys/SHA256.keys.json         issuer and enterprise keys (pass.MarshalKeySet)
//	targets/policy/SHA256.policy.json     gate.Policy
//	targets/map/SHA256.map.json           gate.RiskMap
//	targets/revocation/eu/KID/SHA256.all.ghl   what is revoked of an issuer key, or of a part of its hashes
//	targets/revocation/eu/KID/SHA256.all.17.ghd   what changed since sequence 17
//	targets/status/3301/SHA256.0.tsl      status list 0 of region 3301, CBOR with zlib inside
//	targets/status/3301/SHA256.0.17.tsd   a delta to it from generation 17 on (statuslist.Widen)
//
// Every file but timestamp.json is written once under a name of its own, with
// a rename after a flush; a publish that stops halfway leaves files that
// nothing points to, and the next one sweeps them up.
//
// The signed field "issued" of the timestamp says when the authority last
// spoke. Gates take their clock's floor from it.
package publisher
