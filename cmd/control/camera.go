package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// CameraFor is how long a camera may be watched at a time: a technician who
// forgets it does not leave an eye at the gate.
const CameraFor = 10 * time.Minute

// CameraLine is what a camera did since the line before, and how it stands.
type CameraLine struct {
	Reader string `json:"reader"`
	// State of the camera in words, and what its driver gave.
	State    string `json:"state"`
	Settings string `json:"settings,omitempty"`
	// At is the gate's time of day, and Ends when the watching ends by itself.
	At   time.Time `json:"at"`
	Ends time.Time `json:"ends"`
	// Rate is pictures a second, Looks those that were looked at, and Millis how
	// long a look took on the mean.
	Rate   float64 `json:"rate"`
	Looks  float64 `json:"looks"`
	Millis float64 `json:"ms"`
	// Outcomes counts the pictures of the last second by what became of them.
	Outcomes map[string]uint64 `json:"outcomes"`
	// Outcome of the last picture.
	Outcome string `json:"outcome,omitempty"`
	// Mean brightness (0 to 255), Contrast (0 to 255) and Sharpness (percent) of
	// the last picture that was judged.
	Mean      int `json:"mean"`
	Contrast  int `json:"contrast"`
	Sharpness int `json:"sharpness"`
	// Width and Height of the camera's pictures in pixels.
	Width  int `json:"width"`
	Height int `json:"height"`
	// Place of the code or the corner that was last seen: left, top, width and
	// height as shares of the picture.
	Place *[4]float64 `json:"place,omitempty"`
	// Last is the last code that was read.
	Last *CameraCode `json:"last,omitempty"`
	// Wedges is how often the camera fell silent since the gate's start.
	Wedges uint64 `json:"wedges"`
	// Picture is a small JPEG, for whoever asked for pictures.
	Picture []byte `json:"picture,omitempty"`
}

// CameraCode is a code that a camera read. It never holds the code itself.
type CameraCode struct {
	At time.Time `json:"at"`
	// Kind of the code, where its issuer's signature verified; else "foreign".
	Kind  string `json:"kind"`
	Bytes int    `json:"bytes"`
}

// Camera calls line again and again with what the camera of that name sees,
// "" for the only one, with pictures or without, until the gate ends it after
// CameraFor, ctx ends, or line fails.
func (c *Client) Camera(ctx context.Context, reader string, pictures bool, line func(CameraLine) error) error {
	query := url.Values{"reader": {reader}}
	if pictures {
		query.Set("pictures", "1")
	}
	body, err := c.do(ctx, http.MethodPost, "/camera?"+query.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var l CameraLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("answer of %s: %w", c.socket, err)
		}
		if err := line(l); err != nil {
			return err
		}
	}
}
