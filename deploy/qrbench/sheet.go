package main

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"greengate/scanner"
)

const (
	across, down          = 4, 3
	cellWidth, cellHeight = 320, 240
	gap, caption          = 6, 18
)

// sheet draws pictures that only our reader read, from as many categories as
// there are.
func (b *bench) sheet() error {
	type place struct {
		set *set
		p   *picture
	}
	readBy := map[place][]string{}
	var order []place
	for _, r := range b.results {
		at := place{r.set, r.picture}
		if r.group == none || r.group == clips || r.picture.any || !slices.Contains([]string{ours, stock, zxing1, zxing3, zbar}, r.reader) {
			continue
		}
		if _, ok := readBy[at]; !ok {
			order = append(order, at)
			readBy[at] = nil
		}
		if r.right {
			readBy[at] = append(readBy[at], r.reader)
		}
	}
	var alone []place
	for _, at := range order {
		if slices.Equal(readBy[at], []string{ours}) {
			alone = append(alone, at)
		}
	}
	if b.of(ours, in(synthetic, photos, drawn, none, clips)).n == len(b.results) {
		return nil // nobody else was asked
	}
	b.figure("only.ours", float64(len(alone)), "pictures")
	// One of each category, then another of each.
	var chosen []place
	for len(chosen) < across*down && len(alone) > 0 {
		var sets []*set
		alone = slices.DeleteFunc(alone, func(at place) bool {
			if len(chosen) == across*down || slices.Contains(sets, at.set) {
				return false
			}
			sets, chosen = append(sets, at.set), append(chosen, at)
			return true
		})
	}
	if len(chosen) == 0 {
		b.say("no picture that only ours read: no sheet")
		return nil
	}
	sheet := image.NewGray(image.Rect(0, 0, across*(cellWidth+gap)+gap, down*(cellHeight+caption+gap)+gap))
	draw.Draw(sheet, sheet.Rect, image.White, image.Point{}, draw.Src)
	for i, at := range chosen {
		f, err := grey(filepath.Join(at.set.dir, at.p.file))
		if err != nil {
			return err
		}
		x, y := gap+i%across*(cellWidth+gap), gap+i/across*(cellHeight+caption+gap)
		paste(sheet, f, x, y)
		pen := font.Drawer{Dst: sheet, Src: image.NewUniform(color.Gray{}), Face: basicfont.Face7x13, Dot: fixed.P(x+2, y+cellHeight+13)}
		pen.DrawString(at.set.name)
	}
	path := filepath.Join(b.outDir, "only-ours.png")
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := png.Encode(out, sheet); err != nil {
		return err
	}
	b.say("pictures that only ours read, in %s", path)
	return out.Close()
}

// paste puts a frame into a cell, as large as it fits.
func paste(sheet *image.Gray, f scanner.Frame, x, y int) {
	w, h := cellWidth, f.Height*cellWidth/f.Width
	if h > cellHeight {
		w, h = f.Width*cellHeight/f.Height, cellHeight
	}
	small := resize(f, max(1, w), max(1, h))
	corner := image.Pt(x+(cellWidth-w)/2, y+cellHeight-h) // down at its name
	at := image.Rectangle{corner, corner.Add(image.Pt(small.Width, small.Height))}
	draw.Draw(sheet, at, &image.Gray{Pix: small.Pix, Stride: small.Stride, Rect: image.Rect(0, 0, small.Width, small.Height)}, image.Point{}, draw.Src)
}
