package main

import (
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"greengate/scanner"
	"greengate/scanner/qr"
)

// scene is how a code is held before the camera. All lengths are in modules,
// from the code's middle.
type scene struct {
	width, height int
	pixels        float64 // a module's
	turn          float64 // radians
	tiltX, tiltY  float64 // how much nearer one end is, of 1
	radius        float64 // of the cylinder it is bent around; 0 is flat
	blur          int     // passes of a mean of 3×3
	noise         float64
	low, span     float64 // brightness of ink, and what paper has more
	// shade is the light at a place of the code, of 1; nil is even light.
	shade func(x, y float64) float64
	// over changes the brightness of a place of the code, 0 to 1: dirt, a screen's grid.
	over func(x, y, is float64) float64
}

// kind is a way to hold a code.
type kind struct {
	name string
	hold func(*rand.Rand, *scene)
	size func(*rand.Rand) int // bytes of the code
}

// hard are kinds of picture that the generators beside the corpus do not make.
var hard = []kind{
	// Around a bottle, an arm, a bent sheet.
	{"curved", func(r *rand.Rand, s *scene) {
		s.radius = between(r, 0.62, 1.2) // of the code's side
	}, few},
	// Versions 25 to 40 of a whole screen.
	{"dense", func(r *rand.Rand, s *scene) {
		s.width, s.height = 1920, 1080
		s.pixels = 0 // as large as fits
	}, func(r *rand.Rand) int { return 1000 + r.IntN(1300) }},
	// So near that it fills the picture, and the lens does not reach.
	{"close", func(r *rand.Rand, s *scene) {
		s.pixels, s.blur = 0, 2+r.IntN(5)
		s.tiltX, s.tiltY = between(r, -0.25, 0.25), between(r, -0.25, 0.25)
	}, few},
	// A screen whose grid of pixels beats with the camera's.
	{"monitor", func(r *rand.Rand, s *scene) {
		s.pixels = between(r, 5, 9)
		grid, depth := between(r, 2.2, 3.7)/s.pixels, between(r, 0.3, 0.6)
		s.over = func(x, y, is float64) float64 {
			return is * (1 - depth*(2-math.Cos(2*math.Pi*x/grid)-math.Cos(2*math.Pi*y/grid))/4)
		}
	}, few},
	// Creased, scratched, stained: less than the code can spare, mostly.
	{"worn", func(r *rand.Rand, s *scene) {
		type stain struct{ x, y, r, is float64 }
		var stains []stain
		for range 3 + r.IntN(6) {
			stains = append(stains, stain{between(r, -0.5, 0.5), between(r, -0.5, 0.5), between(r, 0.01, 0.06), float64(r.IntN(2))})
		}
		angle, at := between(r, 0, math.Pi), between(r, -0.3, 0.3)
		sin, cos := math.Sincos(angle)
		s.over = func(x, y, is float64) float64 {
			for _, st := range stains {
				if math.Hypot(x-st.x, y-st.y) < st.r {
					return st.is
				}
			}
			if math.Abs(x*sin+y*cos-at) < 0.006 {
				return 1
			}
			return is
		}
	}, few},
	// The edge of a shadow across it, and a spot of light.
	{"shadow", func(r *rand.Rand, s *scene) {
		angle, at, dark, soft := between(r, 0, 2*math.Pi), between(r, -0.3, 0.3), between(r, 0.12, 0.4), between(r, 0.01, 0.2)
		sin, cos := math.Sincos(angle)
		spotX, spotY := between(r, -0.4, 0.4), between(r, -0.4, 0.4)
		s.shade = func(x, y float64) float64 {
			edge := 1 / (1 + math.Exp(-(x*sin+y*cos-at)/soft))
			return dark + (1-dark)*edge + 0.5*math.Exp(-((x-spotX)*(x-spotX)+(y-spotY)*(y-spotY))/0.02)
		}
	}, few},
}

func between(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }

// few bytes are those of a code as people show it.
func few(r *rand.Rand) int { return []int{60, 150, 350, 600}[r.IntN(4)] }

// drawSets makes n pictures of each kind in dir, as sets.
func drawSets(dir string, kinds []kind, seed uint64, n int) error {
	for k, kind := range kinds {
		folder := filepath.Join(dir, "drawn-"+kind.name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		var index strings.Builder
		for i := range n {
			r := rand.New(rand.NewPCG(seed, uint64(k)<<32|uint64(i)))
			text := payload(r, kind.size(r))
			s := newScene(r, kind)
			f, err := s.see(r, text)
			if err != nil {
				return err
			}
			name := fmt.Sprintf("%03d.png", i)
			out, err := os.Create(filepath.Join(folder, name))
			if err != nil {
				return err
			}
			err = png.Encode(out, &image.Gray{Pix: f.Pix, Stride: f.Stride, Rect: image.Rect(0, 0, f.Width, f.Height)})
			if err2 := out.Close(); err == nil {
				err = err2
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(&index, "%s\t%s\n", name, text)
		}
		for name, b := range map[string]string{"index.tsv": index.String(), "drawn": ""} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(b), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// newScene holds a code in that way.
func newScene(r *rand.Rand, k kind) *scene {
	s := &scene{
		width: 1280, height: 720, pixels: between(r, 2.8, 6), turn: between(r, -0.35, 0.35),
		tiltX: between(r, -0.15, 0.15), tiltY: between(r, -0.15, 0.15), blur: 1, noise: between(r, 1, 5), low: between(r, 10, 50), span: between(r, 110, 190),
	}
	k.hold(r, s)
	return s
}

// payload is a text of n bytes, one in two of the alphabet that takes less room.
func payload(r *rand.Rand, n int) string {
	alphabet := "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$%*+-./:"
	if r.IntN(2) == 0 {
		alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	}
	b := []byte("HC1:")
	for len(b) < n {
		b = append(b, alphabet[r.IntN(len(alphabet))])
	}
	return string(b)
}

// see draws what the camera sees of a code with that text.
func (s *scene) see(r *rand.Rand, text string) (scanner.Frame, error) {
	code, err := qr.Picture(text, 1)
	if err != nil {
		return scanner.Frame{}, err
	}
	modules := float64(code.Rect.Dx()) // with the margin
	fits := 0.95 * float64(s.height) / modules / (1 + math.Abs(s.tiltX)/2 + math.Abs(s.tiltY)/2) / (math.Abs(math.Sin(s.turn)) + math.Cos(s.turn))
	if s.pixels == 0 || s.pixels > fits {
		s.pixels = fits
	}
	out := scanner.Frame{Pix: make([]byte, s.width*s.height), Stride: s.width, Width: s.width, Height: s.height}
	sin, cos := math.Sincos(s.turn)
	room := math.Max(0, float64(s.width)-modules*s.pixels*1.3) / 2
	midX, midY := float64(s.width)/2+between(r, -room, room), float64(s.height)/2
	wall := between(r, 40, 160)
	// 3×3 points of each pixel: a module is few pixels wide.
	const points = 3
	light := make([]float64, s.width*s.height)
	for y := range s.height {
		for x := range s.width {
			sum := 0.0
			for p := range points * points {
				dx := (float64(x) + (float64(p%points)+0.5)/points - midX) / s.pixels / modules
				dy := (float64(y) + (float64(p/points)+0.5)/points - midY) / s.pixels / modules
				z := 1 + s.tiltX*dx + s.tiltY*dy
				u, v := (cos*dx+sin*dy)/z, (cos*dy-sin*dx)/z // of the code's side, from its middle
				sum += s.at(code, u, v, wall)
			}
			light[y*s.width+x] = sum / points / points
		}
	}
	for range s.blur {
		light = mean(light, s.width, s.height)
	}
	for i, l := range light {
		out.Pix[i] = byte(math.Round(max(0, min(255, l+r.NormFloat64()*s.noise))))
	}
	return out, nil
}

// at is the brightness at a place, from the code's middle and in its sides.
func (s *scene) at(code *image.Gray, u, v, wall float64) float64 {
	shade := 1.0
	if s.radius > 0 {
		if math.Abs(u) >= s.radius {
			return wall
		}
		bent := math.Asin(u / s.radius)
		u, shade = bent*s.radius, 0.4+0.6*math.Cos(bent)
	}
	side := code.Rect.Dx()
	x, y := int(math.Floor((u+0.5)*float64(side))), int(math.Floor((v+0.5)*float64(side)))
	if x < 0 || y < 0 || x >= side || y >= side {
		return wall
	}
	is := float64(code.Pix[y*code.Stride+x]) / 255
	if s.over != nil {
		is = s.over(u, v, is)
	}
	if s.shade != nil {
		shade *= s.shade(u, v)
	}
	return (s.low + s.span*is) * shade
}

// mean is each place's with its neighbours.
func mean(light []float64, w, h int) []float64 {
	out := append([]float64(nil), light...)
	for y := 1; y < h-1; y++ {
		for x := 1; x < w-1; x++ {
			i := y*w + x
			out[i] = (light[i-w-1] + 2*light[i-w] + light[i-w+1] + 2*light[i-1] + 4*light[i] + 2*light[i+1] + light[i+w-1] + 2*light[i+w] + light[i+w+1]) / 16
		}
	}
	return out
}
