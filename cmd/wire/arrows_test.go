package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// listed is the part of `go list -json` that the test reads.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// list asks the go command about the module's packages.
func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "greengate/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	return all
}

// room is the part of the house a package lies in: "sync/trust" for all under
// it, since the rooms of sync do not meet; the first folder otherwise.
func room(path string) string {
	path = strings.TrimPrefix(path, "greengate/")
	parts := strings.Split(path, "/")
	if parts[0] == "sync" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// inward is what each room may import beside itself.
var inward = map[string][]string{
	"pass":        {},
	"gate":        {"pass"},
	"scanner":     {"gate", "pass"},
	"display":     {"gate", "pass"},
	"gpio":        {"gate", "pass"},
	"store":       {"gate", "pass"},
	"sync/trust":  {"gate", "pass"},
	"sync/upload": {"gate", "pass"},
	"sync/enrol":  {"gate", "pass"},
	"sync/hub":    {"gate", "pass"},
	"cmd":         {"scanner", "display", "gpio", "store", "sync/trust", "sync/upload", "sync/enrol", "sync/hub", "gate", "pass"},
}

func arrowAllowed(from, to string) bool {
	a, b := room(from), room(to)
	if a != b {
		return slices.Contains(inward[a], b)
	}
	// The encodings under pass/ know nothing of what is built with them.
	switch from {
	case "greengate/pass/base45", "greengate/pass/cose", "greengate/pass/hashlist", "greengate/pass/statuslist":
		return to == "greengate/pass/cose" || to == "greengate/pass/base45"
	}
	return true
}

// TestArrows fails when an import runs any other way than inward.
func TestArrows(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		if _, ok := inward[room(p.ImportPath)]; !ok {
			t.Errorf("%s: no room of the house; name it in DESIGN and here", p.ImportPath)
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if !strings.HasPrefix(imp, "greengate/") || imp == p.ImportPath {
				continue
			}
			seen++
			if !arrowAllowed(p.ImportPath, imp) {
				t.Errorf("%s imports %s: arrows point inward, siblings meet only in cmd", p.ImportPath, imp)
			}
		}
	}
	if seen < 20 {
		t.Fatalf("only %d arrows seen: the test does not look at the module", seen)
	}
}

// TestArrowsWouldFail shows that the rule refuses what it should.
func TestArrowsWouldFail(t *testing.T) {
	for _, c := range [][2]string{
		{"greengate/pass", "greengate/gate"},
		{"greengate/gate", "greengate/store"},
		{"greengate/store/journal", "greengate/sync/upload"},
		{"greengate/sync/trust", "greengate/sync/hub"},
		{"greengate/scanner/serial", "greengate/gpio"},
		{"greengate/pass/cose", "greengate/pass"},
		{"greengate/display/web", "greengate/cmd/wire"},
	} {
		if arrowAllowed(c[0], c[1]) {
			t.Errorf("%s → %s passed", c[0], c[1])
		}
	}
}

// TestOneOwner: each hardware or storage library is imported by one part of the house.
func TestOneOwner(t *testing.T) {
	owners := map[string][]string{
		"periph.io/":                     {"gpio"},
		"go.etcd.io/bbolt":               {"store"},
		"go.bug.st/serial":               {"scanner/serial"},
		"github.com/makiuchi-d/gozxing":  {"scanner/qr"},
		"github.com/nats-io/":            {"sync/hub"},
		"github.com/theupdateframework/": {"sync/trust", "sync/hub/publisher"},
		"github.com/parquet-go/":         {"sync/hub/table"},
		"github.com/pelletier/go-toml":   {"cmd/wire"},
		"github.com/prometheus/":         {"cmd/metrics"},
		"github.com/chromedp/":           {}, // tests only
		"github.com/creack/pty":          {"cmd/gatesim"},
		"greengate/gpio/gpiosim":         {"cmd/gatesim"},
		"greengate/gate/gatetest":        {}, // tests only
		"greengate/sync/trust/trusttest": {}, // tests only
		"crypto/hpke":                    {"gate/passage", "sync/hub", "sync/enrol", "store/journal", "cmd/wire"},
	}
	for _, p := range list(t) {
		for _, imp := range p.Imports {
			for lib, may := range owners {
				if !strings.HasPrefix(imp, lib) {
					continue
				}
				own := strings.TrimPrefix(p.ImportPath, "greengate/")
				if strings.HasPrefix(p.ImportPath, strings.TrimSuffix(lib, "/")) {
					continue // the library itself is ours
				}
				if !slices.ContainsFunc(may, func(m string) bool { return own == m || strings.HasPrefix(own, m+"/") }) {
					t.Errorf("%s imports %s, which belongs to %v", p.ImportPath, imp, may)
				}
			}
		}
	}
}

// TestProductHasNoSimulation: nothing simulated is linked into what runs at a gate.
func TestProductHasNoSimulation(t *testing.T) {
	found := 0
	for _, p := range list(t) {
		switch p.ImportPath {
		case "greengate/cmd/gated", "greengate/cmd/gatectl", "greengate/cmd/gatehub":
			found++
			for _, dep := range p.Deps {
				if dep == "greengate/gpio/gpiosim" || dep == "greengate/gate/gatetest" || strings.HasSuffix(dep, "/gpiotest") || strings.HasSuffix(dep, "/i2ctest") || dep == "testing" {
					t.Errorf("%s links %s", p.ImportPath, dep)
				}
			}
		}
	}
	if found != 3 {
		t.Fatalf("found %d of the three programs", found)
	}
}
