package wire

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const minimal = `
state = "/tmp/x"
[[reader]]
kind = "serial"
device = "/dev/ttyUSB0"
`

func TestParseConfigDefaults(t *testing.T) {
	c, err := ParseConfig("gate.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if c.Identity != "/tmp/x/identity.json" || c.Readers[0].Baud != 9600 || time.Duration(c.Lane.ReleaseFor) != 5*time.Second ||
		c.Journal != (JournalConfig{CapMiB: 256, WhenFull: "refuse", KeepDays: 30}) {
		t.Errorf("defaults: %+v", c)
	}
}

func TestParseConfigFamily(t *testing.T) {
	for text, baud := range map[string]int{"": 9600, "family = \"gm65\"\n": 115200, "family = \"gm65\"\nbaud = 19200\n": 19200} {
		c, err := ParseConfig("gate.toml", []byte(minimal+text))
		if err != nil {
			t.Fatal(err)
		}
		if c.Readers[0].Baud != baud {
			t.Errorf("%q: %d baud, want %d", text, c.Readers[0].Baud, baud)
		}
	}
}

// TestParseConfigSaysWhatIsWrong has a row for each way to get gate.toml wrong.
func TestParseConfigSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, text, what, hint string }{
		{"typo", minimal + "[gpio]\nentry_rely = \"GPIO17\"\n", `gate.toml:7: unknown key "gpio.entry_rely"`, `did you mean "gpio.entry_relay"?`},
		{"unknown table", minimal + "[nonsense_here]\nx = 1\n", "unknown key", "known here: state, identity"},
		{"when full", minimal + "[journal]\nwhen_full = \"forget\"\n", `journal.when_full: "forget" is not known`, "refuse, drop-oldest"},
		{"keep for ever", minimal + "[journal]\nkeep_days = -1\n", "journal.keep_days: -1 is out of range", "from 1 to 3660"},
		{"wrong type", minimal + "[journal]\ncap_mib = \"big\"\n", "gate.toml:7:", ""},
		{"not toml", "state = \n", "gate.toml:1:", ""},
		{"missing pin", minimal + "[gpio]\nred = \"GPIO22\"\n", "gpio.entry_relay: missing", "BCM name"},
		{"bad duration", minimal + "[lane]\nrelease_for = \"five\"\n", "not a duration", ""},
		{"out of range", minimal + "[lane]\nrelease_for = \"5h\"\n", "lane.release_for: 5h0m0s is out of range", "from 1s to 1m0s"},
		{"no reader", "state = \"/tmp/x\"\n", "reads nothing", "[[reader]]"},
		{"bad kind", "[[reader]]\nkind = \"telepathy\"\ndevice = \"x\"\n", `"telepathy" is not known`, "serial, camera, keyboard"},
		{"no device", "[[reader]]\nkind = \"serial\"\n", "device: missing", "/dev/ttyUSB0"},
		{"twice", minimal + "[[reader]]\nkind = \"serial\"\ndevice = \"/dev/ttyUSB1\"\n", "used twice", "name of its own"},
		{"exposure of a pipe", "[[reader]]\nkind = \"camera\"\nsource = \"mjpeg\"\ndevice = \"x\"\nexposure = \"4ms\"\n", "only a camera", "remove exposure"},
		{"exposure of an hour", "[[reader]]\nkind = \"camera\"\ndevice = \"x\"\nexposure = \"1h\"\n", "1h0m0s is out of range", "4ms"},
		{"negative gain", "[[reader]]\nkind = \"camera\"\ndevice = \"x\"\ngain = -1\n", "-1 is out of range", "own choice"},
		{"family of a camera", "[[reader]]\nkind = \"camera\"\ndevice = \"x\"\nfamily = \"gm65\"\n", "only a serial scanner", "remove it"},
		{"unknown family", minimal + "family = \"gm56\"\n", `"gm56" is not known`, `"gm65"`},
		{"speed of a family", minimal + "family = \"gm65\"\nbaud = 14400\n", "does not speak at 14400", "57600"},
		{"open to the world", minimal + "[web]\nlisten = \"0.0.0.0:80\"\n", "not loopback", "web.certificate"},
		{"no port", minimal + "[web]\nlisten = \"127.0.0.1:99999\"\n", `"99999" is no port`, "65535"},
		{"no unit", minimal + "[lane]\nhold_for = 60\n", "lane.hold_for: 60 has no unit", `"60s"`},
		{"half a certificate", minimal + "[web]\nlisten = \"127.0.0.1:80\"\nkey = \"x\"\n", "one without the others", ""},
		{"foreign scheme", minimal + "[lists]\nforeign = [\"nzcp\"]\n", "no such scheme", "shc"},
		{"region", minimal + "[lists]\nhold = [\"Hangzhou\"]\n", "not a region", "GB/T 2260"},
		{"a relay on a pin that pulls up", minimal + "[gpio]\nentry_relay = \"GPIO3\"\n", "gate.toml: gpio: ", "\nhint: "},
		{"max_on", minimal + "[lane]\nrelease_for = \"20s\"\n[gpio]\nentry_relay = \"GPIO17\"\nmode = \"level\"\n", "ends a release", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseConfig("gate.toml", []byte(c.text))
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("got %v, want a configuration error", err)
			}
			if !strings.Contains(err.Error(), c.what) || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("got\n%v\nwant it to say %q with hint %q", err, c.what, c.hint)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("[gpio]\nentry_rely = 1\n"))
	f.Add([]byte("[[reader]]\n[[reader]]\nwidth=-1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseConfig("fuzz", text)
		if err == nil && len(c.Readers) == 0 {
			t.Fatal("accepted without a reader")
		}
	})
}

// TestSampleConfig keeps deploy/gate.toml true.
func TestSampleConfig(t *testing.T) {
	c, err := ReadConfig("../../deploy/gate.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Readers) != 2 || c.GPIO == nil || c.Thermometer == nil || c.Zone == "" {
		t.Errorf("the sample lost something: %+v", c)
	}
}
