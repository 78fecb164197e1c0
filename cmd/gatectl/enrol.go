package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"greengate/sync/enrol"
)

// enrolGate is `gatectl enrol URL TOKEN`. The key lies beside the identity until
// the hub has answered, so that an answer which was lost can be asked for again
// with the same token.
func enrolGate(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gatectl enrol", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "/var/lib/greengate/identity.json", "where the identity goes; the `file` must not be there yet")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("enrol needs the hub's URL and a token\nhint: `gatehub gate invite NAME` prints both")
	}
	token, err := enrol.ParseToken(strings.Join(flags.Args(), " "))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(*out); err == nil {
		return fmt.Errorf("%s is there already: this device is a gate; nothing was changed\nhint: -out names another file", *out)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	pending := *out + ".key"
	key, err := pendingKey(pending)
	if err != nil {
		return err
	}
	id, err := enrol.Enrol(ctx, token, key, time.Now())
	if errors.Is(err, enrol.ErrSpent) {
		return fmt.Errorf("%w\nhint: ask for a new token: `gatehub gate invite -replace NAME`", err)
	}
	if err != nil {
		return err
	}
	if err := id.Save(*out); err != nil {
		return err
	}
	if err := os.Remove(pending); err != nil {
		return fmt.Errorf("enrolled, but the copy of the key is still there: %w", err)
	}
	fmt.Fprintf(stdout, "this device is gate %s of the hub at %s\nidentity: %s\nnext: start gated\n", id.Gate, id.HubURL, *out)
	return nil
}

// pendingKey returns the device's new key: the one of a try before, or a new one.
func pendingKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		block, _ := pem.Decode(data)
		if block != nil {
			if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
				return key, nil
			}
		}
		return nil, fmt.Errorf("%s holds no key\nhint: delete it, and ask for a new token", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := enrol.NewKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = pem.Encode(f, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), os.Remove(path))
	}
	return key, nil
}
