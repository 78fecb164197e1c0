package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"greengate/pass/hashlist"
	"greengate/sync/hub"
)

// setRevocation is `gatehub revocation set SCHEME KID FILE`. The file is all
// that is revoked of the key: for eu one hash a line, for shc the issuer's card
// revocation list. The hub reads it as it is: a long one does not go through
// the memory of two programs.
func setRevocation(f *flag.FlagSet) action {
	empty := f.Bool("empty", false, "eu: a file without a line is meant, nothing of the key is revoked")
	return func(ctx context.Context, c call) error {
		r := hub.RevocationRequest{Scheme: c.args[0], KID: c.args[1], Empty: *empty, By: whoami()}
		most := int64(hashlist.MaxHashes)
		if r.Scheme == string(hashlist.SHC) {
			most = hashlist.MaxCRL
		}
		file := io.Reader(os.Stdin)
		if c.args[2] != "-" {
			f, err := os.Open(c.args[2])
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if info.IsDir() {
				return fmt.Errorf("%s is a directory", c.args[2])
			}
			if info.Size() > most {
				return fmt.Errorf("%s has %d bytes, more than %d", c.args[2], info.Size(), most)
			}
			file = f
		}
		// One byte too many is enough for the hub to refuse it.
		s, err := c.hub.SetRevocation(ctx, r, io.LimitReader(file, most+1))
		if err != nil {
			return fmt.Errorf("%s: %w", c.args[2], err)
		}
		fmt.Fprintf(c.stderr, "%d entries; they reach the gates with the next publish, by itself or by `gatehub publish`\n", s.PendingEntries)
		return c.print(s)
	}
}

// dropRevocation is `gatehub revocation drop SCHEME KID`.
func dropRevocation(*flag.FlagSet) action {
	return func(ctx context.Context, c call) error {
		s, err := c.hub.DropRevocation(ctx, hub.RevocationRequest{Scheme: c.args[0], KID: c.args[1], By: whoami()})
		return show(c)(s, err)
	}
}
