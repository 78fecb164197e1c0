package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the kernel's modules that the machine loads, in this order.
var wanted = []string{
	"bcm2835_wdt",                                    // which is what restarts the board
	"bcm2835", "mmc_block", "crc32c_generic", "ext4", // the card
	"i2c-bcm2835", "i2c-dev", "uhid", "hid-cp2112", // the chip's own bus, where QEMU has nothing, and the thermometer's
	"phy-generic", "dwc2", "usbserial", "ftdi_sio", "cdc_ether", // USB: scanner and network
}

var errModule = errors.New("no such module in the kernel's package")

// moduleFiles finds the wanted modules below a folder that a kernel's package
// was unpacked to, each behind those it needs. What is built in is left out.
func moduleFiles(root string, wanted []string) ([]string, error) {
	files := map[string]string{}
	builtin := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok && err == nil {
			files[moduleName(name)] = path
		}
		if err == nil && d.Name() == "modules.builtin" {
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				builtin[moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
			}
			return err
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []string
	taken := map[string]bool{}
	var take func(name string) error
	take = func(name string) error {
		name = moduleName(name)
		if taken[name] || builtin[name] {
			return nil
		}
		taken[name] = true
		path, ok := files[name]
		if !ok {
			return fmt.Errorf("%w: %s", errModule, name)
		}
		needs, err := moduleNeeds(path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := take(n); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range wanted {
		if err := take(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName is a module's name as the kernel spells it.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// moduleNeeds reads what a module says that it depends on.
func moduleNeeds(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("module %s: no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	for _, field := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
