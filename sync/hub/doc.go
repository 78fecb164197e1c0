// Package hub is the authority's end: it takes declarations, issues codes and
// permits, publishes signed lists, knows its gates, and collects their passages.
//
// # Where things lie
//
// Everything is in one data folder (mode 0700):
//
//	hub.json            the name, addresses and provinces that init was told
//	ca/                 the hub's own authority (ECDSA P-256), and its server certificate
//	keys/tuf/           the keys of the signed lists, see package publisher
//	keys/issuer-33.pem  one issuer's key for each province (Ed25519)
//	keys/enterprise-N.pem  the delegated key of an enterprise, for its permits
//	keys/passages.pem   the HPKE key that gates seal to
//	operator.token      what opens the operator's page
//	lists/              the signed files that gates fetch
//	served/             the same as they are visible at all hubs, where there may be several
//	jetstream/          the registry and the passages, in an embedded NATS server
//	admin.sock          the plain API (mode 0600)
//
// # The registry
//
// The registry lies in JetStream key-value buckets, and every change of a key
// is a compare-and-set, so that several hubs may work on it side by side. A
// code's index is drawn at random and claimed by creating the key
// REGION.LIST.INDEX; that same key holds the colour. The packed status arrays
// are made from these keys and held in memory alone, so there is one truth and
// no second write that a crash could part from the first.
//
// # Several hubs
//
// On a cluster ([Cluster], [OpenNode]) the registry and the passages lie with its
// nodes, and hubs that [Join] made stand side by side. One publishes, by a lease;
// what it signed is visible once a compare-and-set of one key says so, fenced by
// the epoch of the lease. See sync/README.md.
//
// # Passages
//
// One message holds one batch as the gate signed it, on the subject
// passages.GATE, published with the expected last sequence of that subject.
// Headers say which of its records are new and what the head of the chain is.
// The server flushes every message to disk before it acknowledges, and only
// then the gate is answered. A batch that is there already is acknowledged
// again; one that overlaps counts from where it is new; one that leaves a gap
// is refused with the sequence expected; one that contradicts what is stored is
// refused as a fork, and an alarm is kept. A record whose clear part cannot be
// read keeps its place and its bytes in the chain and is counted as a tombstone.
//
// # Personal data
//
// A declaration holds a name, a county and a category, and nothing else; the
// name stays in the registry for the reviewer, and only its masked form goes
// into a code. No name is written to a log or to the audit trail; what somebody
// types as the reason of a trace stands in the trail alone. What a gate sealed is
// opened only by an audited call, and passages of one code are linked by
// [Hub.Trace] alone, which goes from a code to its passages and never back.
package hub
