package main

import (
	"errors"
	"fmt"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"greengate/scanner"
	"greengate/scanner/qr"
)

// reader is what is measured.
type reader interface {
	// read returns the payloads of the codes in f; none is no error.
	read(f scanner.Frame) ([][]byte, error)
	// forget drops what was learnt from the pictures before.
	forget()
}

func newReader(name string) (reader, error) {
	switch name {
	case "ours":
		return new(ours), nil
	case "stock":
		return stock{qrcode.NewQRCodeReader()}, nil
	}
	return nil, fmt.Errorf("no reader %q: there are ours and stock", name)
}

// ours is the gate's reader.
type ours struct {
	decoder qr.Reader
	codes   [1][]byte
}

func (o *ours) read(f scanner.Frame) ([][]byte, error) {
	payload, err := o.decoder.Decode(f)
	if errors.Is(err, qr.ErrNoCode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o.codes[0] = payload
	return o.codes[:], nil
}

func (o *ours) forget() { o.decoder.Forget() }

// stock is gozxing as its users call it, with the hint that makes it look
// harder. It knows no bound: it is for pictures that are known.
type stock struct {
	reader gozxing.Reader
}

func (s stock) read(f scanner.Frame) (codes [][]byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			codes, err = nil, nil // it indexes by what it believes to see
		}
	}()
	source, err := gozxing.NewPlanarYUVLuminanceSource(f.Pix, f.Stride, f.Height, 0, 0, f.Width, f.Height, false)
	if err != nil {
		return nil, err
	}
	bitmap, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(source))
	if err != nil {
		return nil, err
	}
	result, err := s.reader.Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		return nil, nil // why it read nothing is not asked here
	}
	return [][]byte{[]byte(result.GetText())}, nil
}

func (stock) forget() {}
