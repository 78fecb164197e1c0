package publisher

import "errors"

// What a caller may act on.
var (
	// ErrExists: the folder already holds a repository; Init makes only new ones.
	ErrExists = errors.New("a repository is already there")
	// ErrNoRepository: the folder holds no repository; Init makes one.
	ErrNoRepository = errors.New("no repository there")
	// ErrOfflineKeys: what changed must be signed by keys that are offline,
	// and they are not at hand.
	ErrOfflineKeys = errors.New("offline keys are not at hand")
	// ErrOnlineKeys: a key that every publish needs is missing.
	ErrOnlineKeys = errors.New("online key is missing")
	// ErrDamaged: a file of the repository is missing, does not parse or is
	// not signed by its role.
	ErrDamaged = errors.New("repository is damaged")
	// ErrIssued: the publish is older than the one before it. Gates take
	// their clock's floor from this time, so it never goes back.
	ErrIssued = errors.New("issued before the last publish")
	// ErrURI: a list's URI does not end in REGION/NUMBER.
	ErrURI = errors.New("list URI does not end in region/number")
	// ErrProvince: no status role for the province. AddProvinces makes one.
	ErrProvince = errors.New("province has no status role")
	// ErrRole: no such role.
	ErrRole = errors.New("unknown role")
	// ErrMoved: something was published while the folder was read; try again.
	ErrMoved = errors.New("something was published meanwhile")
	// ErrHashList: a revocation list that no gate would take.
	ErrHashList = errors.New("malformed revocation list")
	// ErrList: a list whose bytes and description do not fit together.
	ErrList = errors.New("malformed status list")
)
