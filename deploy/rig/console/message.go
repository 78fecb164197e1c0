// Package console is what the rig and the first process of its machine say to
// each other over the machine's second serial port: a line for each order and
// one for its answer. The kernel writes there too, so an answer has a mark.
package console

// Mark begins a line that is an answer.
const Mark = "@rig "

// Order is one thing to be done in the machine.
type Order struct {
	// Do: "kill" the gate's process with signal Number, "start" and "stop" its
	// unit, "get" the page at Text from the gate, "sensor" tells the played
	// thermometer Text, "usb" takes the scanner off its bus (Number 0) or puts
	// it back (1), "log" asks for the last lines.
	Do     string `json:"do"`
	Text   string `json:"text,omitempty"`
	Number int    `json:"number,omitempty"`
}

// Answer to an order. The first one comes unasked, when the machine is up.
type Answer struct {
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
	// Uptime of the machine, in milliseconds.
	Uptime int64 `json:"uptime"`
}
