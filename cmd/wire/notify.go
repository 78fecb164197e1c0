package wire

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Notifier speaks systemd's notification protocol (sd_notify(3)). The zero
// Notifier, outside systemd, says nothing.
type Notifier struct {
	conn *net.UnixConn
	// Every is how often systemd wants to hear from the watchdog's subject:
	// half of WATCHDOG_USEC. 0 means that no watchdog is set.
	Every time.Duration
}

// NewNotifier reads NOTIFY_SOCKET and WATCHDOG_USEC through getenv.
func NewNotifier(getenv func(string) string) (*Notifier, error) {
	n := &Notifier{}
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return n, nil
	}
	if socket[0] == '@' {
		socket = "\x00" + socket[1:] // abstract name space
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("notification socket: %w", err)
	}
	n.conn = conn
	if usec := getenv("WATCHDOG_USEC"); usec != "" && (getenv("WATCHDOG_PID") == "" || getenv("WATCHDOG_PID") == strconv.Itoa(os.Getpid())) {
		v, err := strconv.ParseInt(usec, 10, 64)
		if err != nil || v <= 0 {
			return nil, fmt.Errorf("WATCHDOG_USEC %q is not a number of microseconds", usec)
		}
		n.Every = time.Duration(v) * time.Microsecond / 2
	}
	return n, nil
}

// Notify sends one state, as "READY=1".
func (n *Notifier) Notify(state string) error {
	if n.conn == nil {
		return nil
	}
	// The lane's loop calls this: a manager that does not read must not hold it up.
	if err := n.conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		return fmt.Errorf("notify %s: %w", state, err)
	}
	if _, err := n.conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify %s: %w", state, err)
	}
	return nil
}
