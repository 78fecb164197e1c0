package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
)

// archive is a cpio archive (newc) as the kernel unpacks it into its first
// root: kernel documentation, driver-api/early-userspace/buffer-format.
type archive struct {
	b    bytes.Buffer
	dirs map[string]bool
}

func (a *archive) entry(name string, mode uint32, data []byte) {
	fmt.Fprintf(&a.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.b.Write(make([]byte, -a.b.Len()&3))
	a.b.Write(data)
	a.b.Write(make([]byte, -a.b.Len()&3))
}

// dir makes a folder and those above it, once.
func (a *archive) dir(name string) {
	if name == "." || a.dirs[name] {
		return
	}
	a.dir(path.Dir(name))
	if a.dirs == nil {
		a.dirs = map[string]bool{}
	}
	a.dirs[name] = true
	a.entry(name, 0o040755, nil)
}

// file puts a file of the host at a place without a leading slash.
func (a *archive) file(name, host string, perm uint32) error {
	data, err := os.ReadFile(host)
	if err != nil {
		return err
	}
	a.dir(path.Dir(name))
	a.entry(name, 0o100000|perm, data)
	return nil
}

// save writes the archive with its end.
func (a *archive) save(path string) error {
	a.entry("TRAILER!!!", 0, nil)
	return os.WriteFile(path, a.b.Bytes(), 0o600)
}
