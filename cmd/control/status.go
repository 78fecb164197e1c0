package control

import (
	"time"

	"greengate/gate"
)

// Status is what gatectl status shows.
type Status struct {
	Gate    string    `json:"gate"`
	Version string    `json:"version"`
	Zone    string    `json:"zone,omitempty"`
	Started time.Time `json:"started"`
	// Lane's state and last reason; FaultCode when it is out of service.
	Lane      string `json:"lane"`
	Reason    string `json:"reason,omitempty"`
	FaultCode string `json:"fault_code,omitempty"`
	// Time of day and its quality.
	Time  time.Time `json:"time"`
	Clock string    `json:"clock"`
	// Floor is the latest signed time believed, before which it cannot be.
	Floor time.Time `json:"floor,omitzero"`
	// Lists held, their confirmation and grade, and the oldest of these.
	Lists  []ListStatus `json:"lists"`
	Oldest OldestStatus `json:"oldest"`
	// Policy and Map in force.
	Policy uint64    `json:"policy"`
	Map    MapStatus `json:"map"`
	// Readers by name.
	Readers []ReaderStatus `json:"readers"`
	Journal JournalStatus  `json:"journal"`
	Upload  UploadStatus   `json:"upload"`
	Trust   TrustStatus    `json:"trust"`
	Faults  []string       `json:"faults,omitempty"`
	Counts  gate.Counters  `json:"counts"`
	// Pages is the address of the web pages.
	Pages string `json:"pages,omitempty"`
}

// ListStatus is one status list held.
type ListStatus struct {
	URI       string    `json:"uri"`
	Sequence  uint64    `json:"sequence"`
	Issued    time.Time `json:"issued"`
	Confirmed time.Time `json:"confirmed"`
	Freshness string    `json:"freshness"`
	// Extra: of no region of the configuration, a code asked for it.
	Extra bool `json:"extra,omitempty"`
}

// OldestStatus is how fresh the lists are as a whole: as the oldest of them.
type OldestStatus struct {
	Confirmed time.Time `json:"confirmed,omitzero"`
	Freshness string    `json:"freshness"`
}

// MapStatus is the map in force; the zero value is none.
type MapStatus struct {
	Version uint64 `json:"version"`
	Day     string `json:"day,omitempty"`
	// Age in days by the gate's own day, where there is a map and a clock to say.
	Age      int  `json:"age_days"`
	AgeKnown bool `json:"age_known"`
}

// ReaderStatus is one reader.
type ReaderStatus struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// JournalStatus is where the journal stands.
type JournalStatus struct {
	Next         uint64 `json:"next"`
	Acknowledged uint64 `json:"acknowledged"`
	Bytes        int64  `json:"bytes"`
	Cap          int64  `json:"cap"`
	Room         string `json:"room"`
	// Dropped, Damaged and Aside count records that are no more, and that the hub
	// refused; Files are what could not be read and lies aside; KeysDestroyed
	// counts segments that nobody can open any more.
	Dropped       uint64 `json:"dropped,omitempty"`
	Damaged       uint64 `json:"damaged,omitempty"`
	Aside         uint64 `json:"aside,omitempty"`
	Files         int    `json:"damaged_files,omitempty"`
	KeysDestroyed int    `json:"keys_destroyed,omitempty"`
}

// UploadStatus is how the upload stands.
type UploadStatus struct {
	Backlog     uint64    `json:"backlog"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	Stop        string    `json:"stop,omitempty"`
	// NextTry is when the gate tries again after a failure.
	NextTry time.Time `json:"next_try,omitzero"`
	// Refusal is what the hub said when it last did not take what it was sent;
	// nil once it did.
	Refusal *RefusalStatus `json:"refusal,omitempty"`
	// Aside is the last record that the hub refused for good, 0 for none since the
	// start, and AsideError what was said of it.
	Aside      uint64 `json:"aside,omitempty"`
	AsideError string `json:"aside_error,omitempty"`
}

// RefusalStatus is an answer of the hub other than yes.
type RefusalStatus struct {
	// Status of HTTP, and the hub's own word for the reason; "" where it gave none.
	Status int    `json:"status"`
	Word   string `json:"word,omitempty"`
	// Expected is the sequence that the hub waits for, Record the one that it refuses, where that is why.
	Expected uint64    `json:"expected,omitempty"`
	Record   uint64    `json:"record,omitempty"`
	At       time.Time `json:"at"`
}

// TrustStatus is how the download of lists stands.
type TrustStatus struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	// ErrorKind is one word for LastError, of a fixed set.
	ErrorKind string `json:"error_kind,omitempty"`
	// Timestamp is the version of the newest timestamp that the last run
	// verified, and Issued its signed time; zero for none.
	Timestamp int64     `json:"timestamp,omitempty"`
	Issued    time.Time `json:"issued,omitzero"`
	// Leap: that time is more than 30 days ahead and waits to be confirmed.
	Leap bool `json:"leap,omitempty"`
}

// ScanTest is what `gatectl scan-test` saw. It never holds the code itself.
type ScanTest struct {
	Reader    string `json:"reader"`
	Direction string `json:"direction"`
	Bytes     int    `json:"bytes"`
	// Kind of the code, where its issuer's signature verified.
	Kind string `json:"kind,omitempty"`
	// Error is why it does not open, "" where it does.
	Error string `json:"error,omitempty"`
	// OpenMicros is how long opening took, in microseconds.
	OpenMicros int64 `json:"open_us"`
}

// JournalLine is the clear part of one record.
type JournalLine struct {
	Sequence  uint64           `json:"sequence"`
	Kind      gate.RecordKind  `json:"kind"`
	At        time.Time        `json:"at"`
	Clock     string           `json:"clock"`
	Direction string           `json:"direction"`
	Verdict   string           `json:"verdict,omitempty"`
	Reason    gate.Reason      `json:"reason,omitempty"`
	Of        uint64           `json:"of,omitempty"`
	Outcome   gate.Outcome     `json:"outcome,omitempty"`
	Why       gate.GuardReason `json:"guard_reason,omitempty"`
}
