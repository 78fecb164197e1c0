package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// DefaultListBase begins the URI of every status list, before REGION/NUMBER.
// It is short because it stands in every code.
const DefaultListBase = "jkm:"

// Config is what a hub is told once, at init; it lies in hub.json.
type Config struct {
	// Name of the authority, 1 to 64 bytes, as pages show it.
	Name string `json:"name"`
	// URL is where gates find the hub, as "https://hub.example:8443".
	URL string `json:"url"`
	// ListsURL is where gates find the signed lists, as "https://lists.example:8443"
	// with /lists behind it, where that is not where they find the hub.
	ListsURL string `json:"lists_url,omitempty"`
	// Hosts are the names and IP addresses in the hub's certificate; the hosts
	// of URL and ListsURL are always among them.
	Hosts []string `json:"hosts"`
	// Provinces it issues for, two digits of GB/T 2260 each, 1 to 34 of them.
	Provinces []string `json:"provinces"`
	// ListBase begins the URI of status lists; [DefaultListBase] when empty.
	// It must never change: it stands in every code.
	ListBase string `json:"list_base"`
	// Cluster: the registry and the passages lie on a JetStream cluster, and
	// the hub must be told where. Only [Move] changes it, once and at its end: a hub
	// that looked in the other place would find no code issued, and call all of them void.
	Cluster bool `json:"cluster,omitempty"`
}

var (
	provincePattern   = regexp.MustCompile(`^[1-9][0-9]$`)
	countyPattern     = regexp.MustCompile(`^[1-9][0-9]{5}$`)
	gatePattern       = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	enterprisePattern = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)
	hostPattern       = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// complete checks the configuration and fills in what follows from the rest.
func (c *Config) complete() error {
	if !validText(c.Name, 1, 64) {
		return errors.New("name: want 1 to 64 bytes of text")
	}
	host, err := checkURL(c.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if !slices.Contains(c.Hosts, host) {
		c.Hosts = append(slices.Clone(c.Hosts), host)
	}
	if c.ListsURL != "" {
		host, err := checkURL(c.ListsURL)
		if err != nil {
			return fmt.Errorf("lists url: %w", err)
		}
		if !slices.Contains(c.Hosts, host) {
			c.Hosts = append(slices.Clone(c.Hosts), host)
		}
	}
	for _, h := range c.Hosts {
		if net.ParseIP(h) == nil && !hostPattern.MatchString(h) {
			return fmt.Errorf("host %q: want a name or an IP address", h)
		}
	}
	if len(c.Provinces) < 1 || len(c.Provinces) > 34 {
		return fmt.Errorf("provinces: %d, want 1 to 34", len(c.Provinces))
	}
	for i, p := range c.Provinces {
		if !provincePattern.MatchString(p) {
			return fmt.Errorf("province %q: want two digits of GB/T 2260", p)
		}
		if slices.Contains(c.Provinces[:i], p) {
			return fmt.Errorf("province %s is named twice", p)
		}
	}
	if c.ListBase == "" {
		c.ListBase = DefaultListBase
	}
	if len(c.ListBase) > 200 || !strings.HasSuffix(c.ListBase, ":") && !strings.HasSuffix(c.ListBase, "/") ||
		strings.ContainsFunc(c.ListBase, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("list base %q: want up to 200 printable ASCII characters that end in \":\" or \"/\"", c.ListBase)
	}
	return nil
}

// readConfig reads what the hub of a folder was told.
func readConfig(p paths) (c Config, err error) {
	data, err := os.ReadFile(p.config())
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("hub in %s: %w\nhint: make one with `gatehub init`", p.dir, ErrNoHub)
	}
	if err != nil {
		return c, fmt.Errorf("hub in %s: %w", p.dir, err)
	}
	if err := decodeStrict(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", p.config(), err)
	}
	if err := c.complete(); err != nil {
		return c, fmt.Errorf("%s: %w", p.config(), err)
	}
	return c, nil
}

// checkURL returns the host of an https URL without path.
func checkURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q: want https://HOST[:PORT]", s)
	}
	return u.Hostname(), nil
}

// validText reports whether s is text of so many bytes without control characters.
func validText(s string, least, most int) bool {
	return len(s) >= least && len(s) <= most && strings.ToValidUTF8(s, "") == s &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029'
		})
}

// decodeStrict decodes exactly one JSON value: an unknown field or anything
// behind its end is an error.
func decodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data behind the end")
	}
	return nil
}
