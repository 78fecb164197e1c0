package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

//go:embed peers
var sources embed.FS

// wasm is zxing-cpp 3.1 as WebAssembly; another release would be another peer.
const wasm = "zxing-wasm@3.1.4"

// errLacks is what this machine has not got: its part is left out, and said to be.
var errLacks = errors.New("left out")

const (
	ours       = "ours"
	stock      = "gozxing"
	zxing1     = "zxing-cpp-1.4"
	zxing3     = "zxing-cpp-3"
	zbar       = "zbar"
	oursAMD64  = "ours/amd64"
	oursARM64  = "ours/arm64"
	oursARMv6  = "ours/armv6"
	zxing1Slow = "zxing-cpp-1.4/amd64" // emulated, to count its instructions
)

// names are all readers, in the order of the table.
var names = []string{ours, stock, zxing1, zxing3, zbar, oursAMD64, zxing1Slow, oursARM64, oursARMv6}

// workshop builds the readers in a folder of its own.
type workshop struct {
	dir, repo string
	goTool    string
	reps      int // of a picture, where time is measured
	every     int // of the emulated ones
}

// build makes a reader. It is errLacks when the machine lacks what it takes.
func (w *workshop) build(ctx context.Context, name string) (*peer, error) {
	reps := fmt.Sprint(w.reps)
	switch name {
	case ours:
		return w.own(ctx, name, runtime.GOARCH, []string{"-allocs", "-reps", reps}, "-clip")
	case stock:
		return w.own(ctx, name, runtime.GOARCH, []string{"-reader", "stock", "-reps", reps}, "-reader", "stock")
	case zxing1:
		return w.cpp(ctx, name, "zxing.cpp", "-lZXing", []string{reps})
	case zbar:
		return w.cpp(ctx, name, "zbar.cpp", "-lzbar", nil)
	case zxing3:
		return w.wasm(ctx)
	}
	var p *peer
	var err error
	emulator := ""
	switch name {
	case oursAMD64:
		emulator = "qemu-x86_64"
		p, err = w.own(ctx, name, "amd64", nil)
	case oursARM64:
		emulator = "qemu-aarch64"
		p, err = w.own(ctx, name, "arm64", nil)
	case oursARMv6:
		emulator = "qemu-arm"
		p, err = w.own(ctx, name, "arm", nil)
	case zxing1Slow:
		if runtime.GOARCH != "amd64" {
			return nil, fmt.Errorf("%w: %s: counted on amd64 only", errLacks, name)
		}
		emulator = "qemu-x86_64"
		p, err = w.cpp(ctx, name, "zxing.cpp", "-lZXing", nil)
	default:
		return nil, fmt.Errorf("no reader %q", name)
	}
	if err != nil {
		return nil, err
	}
	return p, w.emulate(ctx, p, emulator)
}

// own builds the product's command.
func (w *workshop) own(ctx context.Context, name, arch string, single []string, clip ...string) (*peer, error) {
	out := filepath.Join(w.dir, "qrbench-"+arch)
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		build := exec.CommandContext(ctx, w.goTool, "build", "-trimpath", "-o", out, "./scanner/qr/qrbench")
		build.Dir = w.repo
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOARM=6")
		if b, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w: %s", name, err, b)
		}
	}
	return &peer{name: name, every: 1, args: []string{out, "-list", "-"}, single: single, clip: clip}, nil
}

// unpack writes the peers' sources into the workshop.
func (w *workshop) unpack() (string, error) {
	dir := filepath.Join(w.dir, "sources")
	if _, err := os.Stat(dir); err == nil {
		return filepath.Join(dir, "peers"), nil
	}
	return filepath.Join(dir, "peers"), os.CopyFS(dir, sources)
}

// tool tells where a program is, and else which package of Debian has it.
func tool(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: no %s (apt install %s)", errLacks, name, pkg)
	}
	return path, nil
}

// cpp builds a reader that is a library of Debian's.
func (w *workshop) cpp(ctx context.Context, name, source, lib string, single []string) (*peer, error) {
	gcc, err := tool("g++", "g++")
	if err != nil {
		return nil, err
	}
	src, err := w.unpack()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(w.dir, source+".bin")
	if _, err := os.Stat(out); errors.Is(err, os.ErrNotExist) {
		b, err := exec.CommandContext(ctx, gcc, "-O3", "-std=c++20", filepath.Join(src, source), "-o", out, lib).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%w: %s does not build (apt install libzxing-dev libzbar-dev): %.400s", errLacks, name, b)
		}
	}
	return &peer{name: name, every: 1, args: []string{out}, single: single}, nil
}

// wasm fetches a reader that is a package of npm's.
func (w *workshop) wasm(ctx context.Context) (*peer, error) {
	node, err := tool("node", "nodejs")
	if err != nil {
		return nil, err
	}
	npm, err := tool("npm", "npm")
	if err != nil {
		return nil, err
	}
	src, err := w.unpack()
	if err != nil {
		return nil, err
	}
	b, err := exec.CommandContext(ctx, npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", w.dir, wasm).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: npm has no %s for us: %.400s", errLacks, wasm, b)
	}
	return &peer{name: zxing3, every: 1, args: []string{node, filepath.Join(src, "zxing3.mjs"), w.dir}}, nil
}

// emulate puts a reader under qemu-user with the plugin that counts.
func (w *workshop) emulate(ctx context.Context, p *peer, emulator string) error {
	qemu, err := tool(emulator, "qemu-user")
	if err != nil {
		return err
	}
	gcc, err := tool("gcc", "gcc")
	if err != nil {
		return err
	}
	src, err := w.unpack()
	if err != nil {
		return err
	}
	plugin := filepath.Join(w.dir, "count.so")
	if b, err := exec.CommandContext(ctx, gcc, "-O2", "-shared", "-fPIC", filepath.Join(src, "count.c"), "-o", plugin).CombinedOutput(); err != nil {
		return fmt.Errorf("the counting plugin: %w: %s", err, b)
	}
	p.every = w.every
	p.counts = filepath.Join(w.dir, filepath.Base(p.args[0])+".counts")
	p.args = append([]string{qemu, "-plugin", plugin + ",out=" + p.counts}, p.args...)
	return nil
}
