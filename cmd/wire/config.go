package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"greengate/pass/hashlist"
	"greengate/scanner/serial"
)

// Config is gate.toml: what is local to this device. Policy and limits come
// from the hub and have no name here.
type Config struct {
	// State is the folder of the store, the journal and the identity.
	State string `toml:"state"`
	// Identity is the file that `gatehub gate add` made. Default: identity.json in State.
	Identity string `toml:"identity"`
	// Guards is the file of guards and their hashed PINs. Default: guards.json in State.
	Guards string `toml:"guards"`
	// Control is the unix socket that gatectl talks to. Default: control.sock in State.
	Control string `toml:"control"`
	// Zone this gate opens, compared with the zones of a permit. A gate without
	// one never asks for a permit, whatever the policy says.
	Zone string `toml:"zone"`

	Web         WebConfig          `toml:"web"`
	Lane        LaneConfig         `toml:"lane"`
	Lists       ListsConfig        `toml:"lists"`
	Journal     JournalConfig      `toml:"journal"`
	Readers     []ReaderConfig     `toml:"reader"`
	GPIO        *GPIOConfig        `toml:"gpio"`
	Thermometer *ThermometerConfig `toml:"thermometer"`
}

// WebConfig is where the pages are served.
type WebConfig struct {
	// Listen address, "" for none. Loopback only unless certificate and key are set.
	Listen string `toml:"listen"`
	// Certificate, Key and ClientCA are PEM files; with them the pages may be
	// served beyond loopback, to tablets with a certificate of that authority.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	ClientCA    string `toml:"client_ca"`
	// Hosts are names or addresses, without a port, under which tablets ask for the pages; loopback is always there.
	Hosts []string `toml:"hosts"`
	// Languages of the pages, first one largest.
	Languages []string `toml:"languages"`
}

// LaneConfig holds the lane's times.
type LaneConfig struct {
	// Idle light: "red" or "blue".
	Idle string `toml:"idle"`
	// ReleaseFor is how long the turnstile waits for a person.
	ReleaseFor Duration `toml:"release_for"`
	// RefuseFor is how long a refusal is shown.
	RefuseFor Duration `toml:"refuse_for"`
	// HoldFor is how long a hold waits for the guard.
	HoldFor Duration `toml:"hold_for"`
}

// ListsConfig says which lists the gate holds.
type ListsConfig struct {
	// Hold names provinces (two digits of GB/T 2260) and prefectures (four digits).
	Hold []string `toml:"hold"`
	// Foreign names the schemes of foreign codes whose revocation lists are held:
	// "eu", "shc".
	Foreign []string `toml:"foreign"`
	// PollEvery is the pause between two looks at the hub.
	PollEvery Duration `toml:"poll_every"`
	// CapMiB bounds the store's file.
	CapMiB int `toml:"cap_mib"`
}

// JournalConfig bounds the journal.
type JournalConfig struct {
	// CapMiB is the most room the journal takes; at 90 % the gate warns.
	CapMiB int `toml:"cap_mib"`
	// WhenFull is what happens at the cap: "refuse" nobody gets in, or
	// "drop-oldest" the oldest records go and are counted.
	WhenFull string `toml:"when_full"`
	// KeepDays is for how many days the hub can open what the gate recorded; then
	// the day's keys are destroyed on the gate, whether or not the hub has them.
	KeepDays int `toml:"keep_days"`
}

// ReaderConfig is one reader of codes.
type ReaderConfig struct {
	// Kind: "serial", "camera" or "keyboard".
	Kind string `toml:"kind"`
	// Name in the journal of the technician, "" for the kind.
	Name string `toml:"name"`
	// Direction the reader faces: "entry" or "exit".
	Direction string `toml:"direction"`
	// Device: a serial port, /dev/videoN, an evdev device, a FIFO, or a folder of pictures.
	Device string `toml:"device"`
	// Baud rate of a serial port.
	Baud int `toml:"baud"`
	// Family of a serial scanner: "gm65" is found at any of its speeds, brought to
	// Baud, set up, locked against setup barcodes, and reads while the lane takes
	// codes. Without one a scanner is listened to.
	Family string `toml:"family"`
	// Source of a camera: "v4l2", "mjpeg" (a pipe of JPEG pictures), "yuv420" (a pipe of raw frames) or "folder".
	Source string `toml:"source"`
	// Width and Height of the frames of a camera, in pixels.
	Width  int `toml:"width"`
	Height int `toml:"height"`
	// Exposure of a v4l2 camera's pictures, as "4ms", and Gain in the driver's
	// numbers; what the driver cannot do is left, and `gatectl camera` says so.
	// Without them the camera chooses, and never takes longer than its rate of pictures.
	Exposure Duration `toml:"exposure"`
	Gain     int      `toml:"gain"`
}

// GPIOConfig names a pin for each role; a role without a pin is not there.
type GPIOConfig struct {
	// Chip is the GPIO chip, as "gpiochip0".
	Chip string `toml:"chip"`
	// Mode of the relays: "pulse" or "level".
	Mode string `toml:"mode"`
	// PulseWidth of a release in pulse mode.
	PulseWidth Duration `toml:"pulse_width"`
	// MaxOn is the longest a relay stays energised, whatever the lane says.
	MaxOn Duration `toml:"max_on"`
	// Settle is how long a contact must be still before a change counts.
	Settle Duration `toml:"settle"`

	EntryRelay     string `toml:"entry_relay"`
	ExitRelay      string `toml:"exit_relay"`
	Red            string `toml:"red"`
	Amber          string `toml:"amber"`
	Green          string `toml:"green"`
	Blue           string `toml:"blue"`
	Buzzer         string `toml:"buzzer"`
	PassageContact string `toml:"passage_contact"`
	ExitContact    string `toml:"exit_contact"`
	ExitButton     string `toml:"exit_button"`
	Fire           string `toml:"fire"`
	Tamper         string `toml:"tamper"`
	// ActiveLow lists the roles that are on when their pin is low.
	ActiveLow []string `toml:"active_low"`
}

// ThermometerConfig is the MLX90614 on the I²C bus.
type ThermometerConfig struct {
	// Bus as "1" for /dev/i2c-1.
	Bus string `toml:"bus"`
	// Address on the bus, 0x5a from the factory.
	Address int `toml:"address"`
	// AmbientMin and AmbientMax bound the validated ambient range, in °C.
	AmbientMin float64 `toml:"ambient_min"`
	AmbientMax float64 `toml:"ambient_max"`
	// Offset and Slope of the linear adjustment from calibration data: °C, and °C per °C of ambient from 25 °C. None by default.
	Offset float64 `toml:"offset"`
	Slope  float64 `toml:"slope"`
}

// Duration is a duration as gate.toml writes it, "5s" or "200ms".
type Duration time.Duration

// UnmarshalText parses "5s".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 5s or 200ms", text)
	}
	*d = Duration(v)
	return nil
}

// Config errors name the file, the key, the value and the next step.
var ErrConfig = errors.New("configuration")

// Problem is one thing wrong with a configuration.
type Problem struct {
	// Where in the file: "gate.toml:7", or the key.
	Where string
	// What is wrong, and Hint what to do.
	What, Hint string
}

// Problems is what -check prints.
type Problems []Problem

// Error lists every problem with its hint.
func (p Problems) Error() string {
	var b strings.Builder
	for i, x := range p {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s", x.Where, x.What)
		if x.Hint != "" {
			fmt.Fprintf(&b, "\nhint: %s", x.Hint)
		}
	}
	return b.String()
}

// Is makes errors.Is(err, ErrConfig) true.
func (p Problems) Is(target error) bool { return target == ErrConfig }

// MaxConfig is the longest gate.toml read, in bytes.
const MaxConfig = 64 << 10

// ReadConfig reads gate.toml strictly: a key it does not know is an error with
// a hint. It opens nothing that the file names.
func ReadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Config{}, Problems{{path, "no such file", "copy deploy/gate.toml and edit it"}}
		}
		return Config{}, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(&limited{f, MaxConfig}); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return ParseConfig(path, buf.Bytes())
}

// limited reads at most n bytes and then fails, instead of cutting silently.
type limited struct {
	r interface{ Read([]byte) (int, error) }
	n int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.n -= n; l.n < 0 {
		return 0, fmt.Errorf("longer than %d bytes", MaxConfig)
	}
	return n, err
}

// ParseConfig parses and completes a configuration. The name stands in messages only.
func ParseConfig(name string, text []byte) (Config, error) {
	var c Config
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) {
			var all Problems
			for _, e := range unknown.Errors {
				row, _ := e.Position()
				all = append(all, Problem{fmt.Sprintf("%s:%d", name, row),
					fmt.Sprintf("unknown key %q", strings.Join(e.Key(), ".")), suggest(e.Key())})
			}
			return Config{}, all
		}
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			row, col := bad.Position()
			return Config{}, Problems{{fmt.Sprintf("%s:%d:%d", name, row, col), strings.TrimPrefix(bad.Error(), "toml: "), ""}}
		}
		return Config{}, Problems{{name, strings.TrimPrefix(err.Error(), "toml: "), ""}}
	}
	c.complete()
	if bad := append(c.check(name), c.checkHardware(name)...); len(bad) > 0 {
		return Config{}, bad
	}
	return c, nil
}

// complete fills in the defaults.
func (c *Config) complete() {
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	dur := func(p *Duration, v time.Duration) {
		if *p == 0 {
			*p = Duration(v)
		}
	}
	def(&c.State, "/var/lib/greengate")
	def(&c.Identity, filepath.Join(c.State, "identity.json"))
	def(&c.Guards, filepath.Join(c.State, "guards.json"))
	def(&c.Control, filepath.Join(c.State, "control.sock"))
	def(&c.Lane.Idle, "red")
	dur(&c.Lane.ReleaseFor, 5*time.Second)
	dur(&c.Lane.RefuseFor, 3*time.Second)
	dur(&c.Lane.HoldFor, 60*time.Second)
	dur(&c.Lists.PollEvery, 60*time.Second)
	if c.Lists.CapMiB == 0 {
		c.Lists.CapMiB = 512
	}
	if c.Journal.CapMiB == 0 {
		c.Journal.CapMiB = 256
	}
	def(&c.Journal.WhenFull, "refuse")
	if c.Journal.KeepDays == 0 {
		c.Journal.KeepDays = 30
	}
	if len(c.Web.Languages) == 0 {
		c.Web.Languages = []string{"zh", "en"}
	}
	for i := range c.Readers {
		r := &c.Readers[i]
		def(&r.Name, r.Kind)
		def(&r.Direction, "entry")
		if r.Kind == "serial" && r.Baud == 0 {
			r.Baud = serial.DefaultBaud
			if r.Family == string(serial.GM65) {
				// A code of 300 characters takes 26 ms instead of 310.
				r.Baud = 115200
			}
		}
		if r.Kind == "camera" {
			def(&r.Source, "v4l2")
			if r.Width == 0 && r.Height == 0 {
				r.Width, r.Height = 1280, 720
			}
		}
	}
	if g := c.GPIO; g != nil {
		def(&g.Chip, "gpiochip0")
		def(&g.Mode, "pulse")
		dur(&g.PulseWidth, 200*time.Millisecond)
		dur(&g.MaxOn, 10*time.Second)
		dur(&g.Settle, 30*time.Millisecond)
	}
	if t := c.Thermometer; t != nil {
		def(&t.Bus, "1")
		if t.Address == 0 {
			t.Address = 0x5a
		}
		if t.AmbientMin == 0 && t.AmbientMax == 0 {
			t.AmbientMin, t.AmbientMax = 16, 35
		}
	}
}

var regionPrefix = regexp.MustCompile(`^[1-9][0-9]([0-9]{2})?([0-9]{2})?$`)

// check finds everything that can be known wrong without opening anything.
func (c *Config) check(name string) Problems {
	var bad Problems
	say := func(key, hint, format string, args ...any) {
		bad = append(bad, Problem{name + ": " + key, fmt.Sprintf(format, args...), hint})
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			say(key, "one of "+strings.Join(allowed, ", "), "%q is not known", value)
		}
	}
	within := func(key string, d Duration, lo, hi time.Duration) {
		if v := time.Duration(d); v > 0 && v < time.Microsecond {
			say(key, fmt.Sprintf("with a unit and in quotes, as %q", fmt.Sprintf("%ds", v)), "%d has no unit", v)
		} else if v < lo || v > hi {
			say(key, fmt.Sprintf("from %s to %s", lo, hi), "%s is out of range", v)
		}
	}
	oneOf("lane.idle", c.Lane.Idle, "red", "blue")
	within("lane.release_for", c.Lane.ReleaseFor, time.Second, time.Minute)
	within("lane.refuse_for", c.Lane.RefuseFor, 500*time.Millisecond, time.Minute)
	within("lane.hold_for", c.Lane.HoldFor, 5*time.Second, time.Hour)
	within("lists.poll_every", c.Lists.PollEvery, time.Second, time.Hour)
	if c.Lists.CapMiB < 8 || c.Lists.CapMiB > 16<<10 {
		say("lists.cap_mib", "from 8 to 16384", "%d is out of range", c.Lists.CapMiB)
	}
	if c.Journal.CapMiB < 4 || c.Journal.CapMiB > 64<<10 {
		say("journal.cap_mib", "from 4 to 65536", "%d is out of range", c.Journal.CapMiB)
	}
	oneOf("journal.when_full", c.Journal.WhenFull, "refuse", "drop-oldest")
	if c.Journal.KeepDays < 1 || c.Journal.KeepDays > 3660 {
		say("journal.keep_days", "from 1 to 3660", "%d is out of range", c.Journal.KeepDays)
	}
	for i, r := range c.Lists.Hold {
		if !regionPrefix.MatchString(r) {
			say(fmt.Sprintf("lists.hold[%d]", i), `GB/T 2260 digits: "33" a province, "3301" a prefecture`, "%q is not a region", r)
		}
	}
	for i, s := range c.Lists.Foreign {
		if !hashlist.Scheme(s).Valid() {
			say(fmt.Sprintf("lists.foreign[%d]", i), `"eu" and "shc" revoke by hash`, "%q is no such scheme", s)
		}
	}
	if c.Web.Listen != "" {
		host, port, err := net.SplitHostPort(c.Web.Listen)
		_, portErr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil:
			say("web.listen", `an address such as "127.0.0.1:8090"`, "%q is not host:port", c.Web.Listen)
		case portErr != nil:
			say("web.listen", "a number up to 65535", "%q is no port", port)
		case c.Web.Certificate == "" && host != "localhost" && !net.ParseIP(host).IsLoopback():
			say("web.listen", "use 127.0.0.1, or set web.certificate, web.key and web.client_ca", "%q is not loopback and has no certificate", c.Web.Listen)
		}
	}
	if set := c.Web.Certificate != ""; set != (c.Web.Key != "") || set != (c.Web.ClientCA != "") {
		say("web.certificate", "set web.certificate, web.key and web.client_ca, or none of them", "one without the others")
	}
	if len(c.Readers) == 0 {
		say("reader", "add a [[reader]] with kind and device", "a gate without a reader reads nothing")
	}
	names := map[string]bool{}
	for i, r := range c.Readers {
		key := fmt.Sprintf("reader[%d]", i)
		oneOf(key+".kind", r.Kind, "serial", "camera", "keyboard")
		oneOf(key+".direction", r.Direction, "entry", "exit")
		if r.Kind == "camera" {
			oneOf(key+".source", r.Source, "v4l2", "mjpeg", "yuv420", "folder")
		} else if r.Source != "" {
			say(key+".source", "remove it", "only a camera has a source")
		}
		if r.Device == "" {
			say(key+".device", `as "/dev/ttyUSB0" or "/dev/video0"`, "missing")
		}
		if r.Kind == "serial" && (r.Baud < 1200 || r.Baud > 921600) {
			say(key+".baud", "9600 or 115200", "%d is out of range", r.Baud)
		}
		switch family := serial.Family(r.Family); {
		case family == serial.Plain:
		case r.Kind != "serial":
			say(key+".family", "remove it", "only a serial scanner has a family")
		case family != serial.GM65:
			say(key+".family", `"gm65", or leave it out`, "%q is not known", r.Family)
		case !serial.GM65Baud(r.Baud):
			say(key+".baud", "9600, 19200, 38400, 57600 or 115200", "a GM65 does not speak at %d", r.Baud)
		}
		if r.Width < 0 || r.Width > 4096 || r.Height < 0 || r.Height > 4096 {
			say(key, "up to 4096 by 4096 pixels", "%d by %d pixels is out of range", r.Width, r.Height)
		}
		if r.Source != "v4l2" && (r.Exposure != 0 || r.Gain != 0) {
			say(key, "remove exposure and gain", `only a camera with source = "v4l2" has them`)
		}
		if r.Exposure < 0 || time.Duration(r.Exposure) > time.Second {
			say(key+".exposure", `for instance "4ms", or leave it out`, "%s is out of range", time.Duration(r.Exposure))
		}
		if r.Gain < 0 {
			say(key+".gain", "leave it out for the camera's own choice", "%d is out of range", r.Gain)
		}
		if names[r.Name] {
			say(key+".name", "give each reader a name of its own", "%q is used twice", r.Name)
		}
		names[r.Name] = true
	}
	if g := c.GPIO; g != nil {
		oneOf("gpio.mode", g.Mode, "pulse", "level")
		within("gpio.pulse_width", g.PulseWidth, 100*time.Millisecond, 5*time.Second)
		within("gpio.max_on", g.MaxOn, time.Second, time.Minute)
		within("gpio.settle", g.Settle, time.Millisecond, time.Second)
		if g.EntryRelay == "" {
			say("gpio.entry_relay", `a BCM name such as "GPIO17"; leave out the whole [gpio] table for a gate that only shows`, "missing")
		}
		if time.Duration(g.MaxOn) < time.Duration(c.Lane.ReleaseFor) && g.Mode == "level" {
			say("gpio.max_on", "at least lane.release_for", "%s ends a release of %s early", time.Duration(g.MaxOn), time.Duration(c.Lane.ReleaseFor))
		}
	}
	if t := c.Thermometer; t != nil {
		if t.Address < 0x03 || t.Address > 0x77 {
			say("thermometer.address", "0x5a from the factory", "%#x is no I²C address", t.Address)
		}
		if t.AmbientMin >= t.AmbientMax || t.AmbientMin < -40 || t.AmbientMax > 85 {
			say("thermometer.ambient_min", "for instance 16 and 35", "%g to %g °C is no range", t.AmbientMin, t.AmbientMax)
		}
	}
	return bad
}

// suggest names the known key nearest to an unknown one.
func suggest(key []string) string {
	table, known := strings.Join(key[:len(key)-1], "."), keysOf(reflect.TypeFor[Config](), "")
	word, best, dist := key[len(key)-1], "", 4
	var here []string
	for _, k := range known {
		dir, leaf := "", k
		if i := strings.LastIndexByte(k, '.'); i >= 0 {
			dir, leaf = k[:i], k[i+1:]
		}
		if dir == table {
			here = append(here, leaf)
		}
		if d := distance(word, leaf); d < dist || d == dist && dir == table && best != "" {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(here) > 0 {
		return fmt.Sprintf("known here: %s", strings.Join(here, ", "))
	}
	return "no such table; see deploy/gate.toml for all names"
}

// keysOf lists the dotted names of a configuration type.
func keysOf(t reflect.Type, prefix string) []string {
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		ft := f.Type
		for ft.Kind() == reflect.Pointer || ft.Kind() == reflect.Slice {
			ft = ft.Elem()
		}
		name := prefix + f.Tag.Get("toml")
		out = append(out, name)
		if ft.Kind() == reflect.Struct {
			out = append(out, keysOf(ft, name+".")...)
		}
	}
	return out
}

// distance is the number of letters to insert, remove or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diag+cost)
		}
	}
	return row[len(b)]
}
