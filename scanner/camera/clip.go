package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// errClipEnd is the end of a clip: Run plays it again when it is called again.
var errClipEnd = errors.New("end of the clip")

// Clip is a Source that plays pictures of a file or a folder at a camera's
// rate: for tests, and to see what a reader makes of what a camera once saw.
type Clip struct {
	// Path of a folder of PNG and JPEG pictures, played in the order of their
	// names, or of one file of raw pictures, one behind the other, when Width is set.
	Path string
	// Rate in pictures a second. Zero makes each picture wait for the one before
	// to be looked at, and none is left out.
	Rate float64
	// Width and Height of raw pictures in pixels, and Stride of their rows in
	// bytes, which is Width when it is zero.
	Width, Height, Stride int
	// Chroma says that two planes of colour follow each raw picture, as in YUV420.
	Chroma bool
}

// Live says whether pictures come by themselves.
func (c *Clip) Live() bool { return c.Rate > 0 }

// String is the path.
func (c *Clip) String() string { return c.Path }

// Run plays the clip once and returns an error that says that it has ended.
func (c *Clip) Run(ctx context.Context, ready func(), frames func(Image)) error {
	pace := func() error { return ctx.Err() }
	if c.Rate > 0 {
		tick := time.NewTicker(time.Duration(float64(time.Second) / c.Rate))
		defer tick.Stop()
		pace = func() error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				return nil
			}
		}
	}
	play := c.files
	if c.Width != 0 {
		play = c.raw
	}
	if err := play(ready, pace, frames); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("clip %s: %w", c.Path, err)
	}
	return fmt.Errorf("clip %s: %w", c.Path, errClipEnd)
}

// files plays a folder.
func (c *Clip) files(ready func(), pace func() error, frames func(Image)) error {
	entries, err := os.ReadDir(c.Path) // sorted by name
	if err != nil {
		return err
	}
	ready()
	for _, e := range entries {
		if !e.Type().IsRegular() || !picture(e.Name()) {
			continue
		}
		data, err := readFile(filepath.Join(c.Path, e.Name()))
		if err != nil {
			return err
		}
		if err := pace(); err != nil {
			return err
		}
		frames(Image{Format: Encoded, Data: data})
	}
	return nil
}

// raw plays a file of raw pictures.
func (c *Clip) raw(ready func(), pace func() error, frames func(Image)) (err error) {
	m := Image{Format: Luma, Width: c.Width, Height: c.Height, Stride: c.Stride}
	if m.Stride == 0 {
		m.Stride = c.Width
	}
	if m.Width < 1 || m.Height < 1 || m.Width > 4096 || m.Height > 4096 || m.Stride < m.Width || m.Stride > 8192 {
		return fmt.Errorf("picture of %d×%d with stride %d, want 1 to 4096", m.Width, m.Height, m.Stride)
	}
	file, err := os.Open(c.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	ready()
	size := m.Stride * m.Height
	if c.Chroma {
		size += 2 * (m.Stride / 2) * ((m.Height + 1) / 2)
	}
	buf := make([]byte, size)
	m.Data = buf[:m.Stride*m.Height]
	for {
		if _, err := io.ReadFull(file, buf); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := pace(); err != nil {
			return err
		}
		frames(m)
	}
}
