package qr

import (
	"fmt"
	"image"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// maxModule is the largest module of a Picture in pixels: the largest code is
// 185 modules wide with its margin.
const maxModule = 64

// Picture draws text as a QR code at error correction level M, black on white,
// with modules of module pixels (1 to 64) and the margin of four modules that
// readers need (ISO/IEC 18004, 9.1). Text of the alphanumeric alphabet, as a
// native code is, takes that mode and so the smallest picture. It fails when
// text is empty or more than a code holds.
func Picture(text string, module int) (*image.Gray, error) {
	if module < 1 || module > maxModule {
		return nil, fmt.Errorf("qr picture: module of %d pixels, want 1 to %d", module, maxModule)
	}
	m, err := qrcode.NewQRCodeWriter().Encode(text, gozxing.BarcodeFormat_QR_CODE, 0, 0,
		map[gozxing.EncodeHintType]any{gozxing.EncodeHintType_ERROR_CORRECTION: "M"})
	if err != nil {
		// The library may quote the text; a code is nobody else's business.
		return nil, fmt.Errorf("qr picture: %d bytes do not make a code", len(text))
	}
	side := m.GetWidth() * module
	img := image.NewGray(image.Rect(0, 0, side, m.GetHeight()*module))
	for y := range img.Rect.Dy() {
		row := img.Pix[y*img.Stride:][:side]
		for x := range row {
			if !m.Get(x/module, y/module) {
				row[x] = 0xff
			}
		}
	}
	return img, nil
}
