//go:build deps

package deploy

import (
	_ "github.com/chromedp/chromedp"
	_ "github.com/creack/pty"
	_ "github.com/fxamacker/cbor/v2"
	_ "github.com/makiuchi-d/gozxing/qrcode"
	_ "github.com/nats-io/nats-server/v2/server"
	_ "github.com/nats-io/nats.go/jetstream"
	_ "github.com/pelletier/go-toml/v2"
	_ "github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	_ "go.bug.st/serial/enumerator"
	_ "go.etcd.io/bbolt"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "periph.io/x/conn/v3/gpio/gpiotest"
	_ "periph.io/x/conn/v3/i2c/i2ctest"
	_ "periph.io/x/host/v3/gpioioctl"
	_ "periph.io/x/host/v3/sysfs"
)
