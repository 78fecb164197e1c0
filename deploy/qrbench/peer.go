package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// patience is how long a reader may be silent about one picture. Emulated
// ones take their time.
const patience = 2 * time.Minute

// answer is what a reader said about a picture.
type answer struct {
	cpu   float64 // ms
	count int
	texts [][]byte
	alloc int // objects; -1 where the reader does not say
}

// errAnswer is a line that is not as peers/frames.h says.
var errAnswer = errors.New("not an answer")

// errEnded is a peer that ended before it was asked to.
var errEnded = errors.New("the reader ended")

// parseAnswer reads a line about the picture at path.
func parseAnswer(line, path string) (a answer, err error) {
	f := strings.Split(line, "\t")
	if len(f) < 6 || len(f) > 7 || f[1] != path {
		return a, fmt.Errorf("%w: %.100q, about %s", errAnswer, line, path)
	}
	a.alloc = -1
	if a.cpu, err = strconv.ParseFloat(f[2], 64); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if a.count, err = strconv.Atoi(f[4]); err != nil {
		return a, fmt.Errorf("%w: %w", errAnswer, err)
	}
	for t := range strings.SplitSeq(f[5], ",") {
		text, err := base64.StdEncoding.DecodeString(t)
		if err != nil {
			return a, fmt.Errorf("%w: %w", errAnswer, err)
		}
		a.texts = append(a.texts, text)
	}
	if a.count == 0 {
		a.texts = nil
	}
	if len(f) == 7 {
		if a.alloc, err = strconv.Atoi(f[6]); err != nil {
			return a, fmt.Errorf("%w: %w", errAnswer, err)
		}
	}
	return a, nil
}

// peer is a reader that runs as a process.
type peer struct {
	name string
	// counts is the file in which the counting plugin writes, where there is one.
	counts string
	// every: of so many pictures it is asked one. Emulation takes long.
	every int
	args  []string
	// single and clip go behind args, for pictures on their own and for clips.
	single, clip []string

	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	stderr bytes.Buffer
}

// start runs the peer until ctx ends.
func (p *peer) start(ctx context.Context, more ...string) (err error) {
	p.cmd = exec.CommandContext(ctx, p.args[0], append(p.args[1:len(p.args):len(p.args)], more...)...)
	p.stderr.Reset()
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	lines := make(chan string)
	p.lines = lines
	go func() {
		defer close(lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

// ask has the peer read one picture.
func (p *peer) ask(ctx context.Context, path string) (answer, error) {
	if _, err := fmt.Fprintln(p.in, path); err != nil {
		return answer{}, fmt.Errorf("%s took no more at %s: %w", p.name, path, errors.Join(err, p.close()))
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return answer{}, errors.Join(fmt.Errorf("%s, at %s: %w", p.name, path, errEnded), p.close())
		}
		return parseAnswer(line, path)
	case <-late.C:
		return answer{}, fmt.Errorf("%s was silent about %s for %v", p.name, path, patience)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// close lets the peer end by itself, and returns what it complained of if it
// did not end well.
func (p *peer) close() error {
	if p.cmd == nil {
		return nil
	}
	err := p.in.Close()
	for range p.lines { // until its end
	}
	err = errors.Join(err, p.cmd.Wait())
	p.cmd = nil
	if err != nil {
		return fmt.Errorf("%s: %w: %s", p.name, err, p.stderr.Bytes())
	}
	return nil
}
