package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	_ "golang.org/x/image/webp"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"

	"greengate/scanner"
)

// errIndex is a set whose list of pictures does not keep to its form.
var errIndex = errors.New("not an index of pictures")

// group is what sets are put together to.
type group string

const (
	synthetic group = "synthetic" // made with a code
	photos    group = "photos"    // found, with a code
	drawn     group = "drawn"     // by this program, with a code
	none      group = "none"      // any without a code
	clips     group = "clips"     // pictures that follow each other
)

// set is a folder of pictures and what is in them.
type set struct {
	name, dir string
	group     group // of those with a code
	pictures  []picture
}

type picture struct {
	file string
	// texts are what may be read, one of them; none when there is no code.
	texts []string
	// any: there is a code and nobody knows its text.
	any bool
}

func (s *set) groupOf(p picture) group {
	if !p.any && len(p.texts) == 0 {
		return none
	}
	return s.group
}

// thin leaves n pictures of all.
func (s *set) thin(n int) {
	all := s.pictures
	if len(all) <= n {
		return
	}
	s.pictures = nil
	for i := range n {
		s.pictures = append(s.pictures, all[i*len(all)/n])
	}
}

// ofClip is the name of a picture of a clip: clip 3, picture 17.
var ofClip = regexp.MustCompile(`^s\d+_f\d+\.\w+$`)

// openSets returns the sets in a folder: the folder itself where it has an
// index.tsv, else its sub-folders that have one.
func openSets(dir string) ([]set, error) {
	dirs := []string{dir}
	if _, err := os.Stat(filepath.Join(dir, "index.tsv")); errors.Is(err, os.ErrNotExist) {
		found, err := filepath.Glob(filepath.Join(dir, "*", "index.tsv"))
		if err != nil {
			return nil, err
		}
		dirs = dirs[:0]
		for _, f := range found {
			dirs = append(dirs, filepath.Dir(f))
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s: %w: no index.tsv in it or one below", dir, errIndex)
	}
	var sets []set
	for _, d := range dirs {
		b, err := os.ReadFile(filepath.Join(d, "index.tsv"))
		if err != nil {
			return nil, err
		}
		s := set{name: filepath.Base(d), dir: d, group: photos}
		if s.pictures, err = parseIndex(b); err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		// The makers of pictures leave their parameters, or number their clips.
		if _, err := os.Stat(filepath.Join(d, "params.tsv")); err == nil {
			s.group = synthetic
		}
		if _, err := os.Stat(filepath.Join(d, "drawn")); err == nil {
			s.group = drawn
		}
		if len(s.pictures) > 0 && ofClip.MatchString(s.pictures[0].file) {
			s.group = clips
		}
		sets = append(sets, s)
	}
	return sets, nil
}

// parseIndex reads lines of a file's name and its texts, between tabs: "-" says
// that there is no code, "?" that nobody knows what is in it.
func parseIndex(b []byte) ([]picture, error) {
	const maxBytes, maxLine = 16 << 20, 1 << 16
	if len(b) > maxBytes {
		return nil, fmt.Errorf("%w: %d bytes", errIndex, len(b))
	}
	var pictures []picture
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		f := strings.Split(lines.Text(), "\t")
		if len(f) < 2 || !filepath.IsLocal(f[0]) {
			return nil, fmt.Errorf("%w: line %d", errIndex, len(pictures)+1)
		}
		p := picture{file: f[0]}
		switch {
		case len(f) == 2 && f[1] == "-":
		case len(f) == 2 && f[1] == "?":
			p.any = true
		default:
			for _, t := range f[1:] {
				p.texts = append(p.texts, unescape(t))
			}
		}
		pictures = append(pictures, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", errIndex, err)
	}
	return pictures, nil
}

var unescape = strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n", `\t`, "\t").Replace

// written are the character sets that texts of codes are in, when it is not
// UTF-8: a reader may give the bytes, or what it takes them for.
var written = []encoding.Encoding{charmap.ISO8859_1, japanese.ShiftJIS, simplifiedchinese.GB18030}

// right reports whether one of the texts read is one that is there.
func (p picture) right(read [][]byte) bool {
	if p.any {
		return len(read) > 0
	}
	for _, r := range read {
		if slices.Contains(p.texts, string(r)) {
			return true
		}
		for _, e := range written {
			if d, err := e.NewDecoder().Bytes(r); err == nil && slices.Contains(p.texts, string(d)) {
				return true
			}
		}
	}
	return false
}

// maxSide is the longest side that readers are given: a camera gives no more.
const maxSide = 1920

// grey decodes a picture and gives its brightness, smaller when it is larger
// than a camera's.
func grey(path string) (scanner.Frame, error) {
	file, err := os.Open(path)
	if err != nil {
		return scanner.Frame{}, err
	}
	defer file.Close()
	img, _, err := image.Decode(bufio.NewReader(file))
	if err != nil {
		return scanner.Frame{}, fmt.Errorf("%s: %w", path, err)
	}
	var f scanner.Frame
	f.SetImage(img)
	if err := f.Check(); err != nil {
		return scanner.Frame{}, fmt.Errorf("%s: %w", path, err)
	}
	return shrink(f), nil
}

// shrink makes a frame's longest side maxSide at most; each pixel is the mean
// of the area that it was.
func shrink(f scanner.Frame) scanner.Frame {
	long := max(f.Width, f.Height)
	if long <= maxSide {
		return f
	}
	w, h := max(1, f.Width*maxSide/long), max(1, f.Height*maxSide/long)
	return resize(f, w, h)
}

func resize(f scanner.Frame, w, h int) scanner.Frame {
	out := scanner.Frame{Pix: make([]byte, w*h), Stride: w, Width: w, Height: h}
	across, down := weights(f.Width, w), weights(f.Height, h)
	for y, rows := range down {
		for x, columns := range across {
			sum := 0.0
			for _, r := range rows {
				for _, c := range columns {
					sum += r.share * c.share * float64(f.Pix[r.at*f.Stride+c.at])
				}
			}
			out.Pix[y*w+x] = byte(sum + 0.5)
		}
	}
	return out
}

type weight struct {
	at    int
	share float64
}

// weights tells for each of n new pixels which of the old ones it covers.
func weights(old, n int) [][]weight {
	out := make([][]weight, n)
	for i := range out {
		from, to := float64(i)*float64(old)/float64(n), float64(i+1)*float64(old)/float64(n)
		for at := int(from); at < old && float64(at) < to; at++ {
			share := (min(to, float64(at+1)) - max(from, float64(at))) / (to - from)
			out[i] = append(out[i], weight{at, share})
		}
	}
	return out
}

// writePGM writes a frame as readers take it.
func writePGM(path string, f scanner.Frame) error {
	b := fmt.Appendf(nil, "P5\n%d %d\n255\n", f.Width, f.Height)
	for y := range f.Height {
		b = append(b, f.Pix[y*f.Stride:][:f.Width]...)
	}
	return os.WriteFile(path, b, 0o600)
}
