package camera

import (
	"time"

	"greengate/scanner"
)

// shot is one picture on its way from the camera to the eye.
type shot struct {
	// image as the camera delivered it, in memory of the shot's own, and when.
	image Image
	at    time.Time
	// frame is its brightness, and err why there is none. Its memory is the
	// image's, the decoder's, or pix.
	frame scanner.Frame
	err   error
	pix   []byte
	// glance is what a cheap look shows of it.
	glance glance
}

// hold copies a picture that its source is about to overwrite.
func (s *shot) hold(m Image) {
	data := append(s.image.Data[:0], m.Data...)
	s.image, s.at = m, m.At
	s.image.Data = data
	if s.at.IsZero() {
		s.at = time.Now()
	}
}

// develop makes brightness of the picture and glances at it.
func (s *shot) develop() {
	s.frame.Pix = s.pix
	s.err = s.image.Luma(&s.frame)
	if s.err != nil {
		return
	}
	if s.image.Format == YUYV {
		s.pix = s.frame.Pix
	}
	s.glance.at(s.frame)
}
