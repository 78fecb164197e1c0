package gate

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// maxLines is how many lines of the log wait for its reader at most.
const maxLines = 256

// logQueue is a handler that never blocks. Whoever reads the log may hang on
// the same disk as the journal, or be a terminal that was stopped; a worker
// hands the lines to it, and those that find no room are counted.
type logQueue struct {
	slog.Handler // where the lines go in the end
	lines        chan<- logLine
	lost         *atomic.Uint64
}

// logLine is one line and the handler it is for.
type logLine struct {
	to     slog.Handler
	record slog.Record
}

func (q logQueue) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.lines <- logLine{q.Handler, r.Clone()}:
	default:
		q.lost.Add(1)
	}
	return nil
}

func (q logQueue) WithAttrs(attrs []slog.Attr) slog.Handler {
	q.Handler = q.Handler.WithAttrs(attrs)
	return q
}

func (q logQueue) WithGroup(name string) slog.Handler {
	q.Handler = q.Handler.WithGroup(name)
	return q
}

// logWorker writes the lines until the lane is gone, and what waits then.
func (l *Lane) logWorker() {
	for {
		select {
		case line := <-l.lines:
			l.logOne(line)
		case <-l.done:
			for {
				select {
				case line := <-l.lines:
					l.logOne(line)
				default:
					return
				}
			}
		}
	}
}

func (l *Lane) logOne(line logLine) {
	// There is nobody to tell of a log that fails.
	var ignored error
	defer recovered(&ignored)
	ctx := context.Background()
	_ = line.to.Handle(ctx, line.record)
	if n := l.linesLost.Swap(0); n > 0 {
		r := slog.NewRecord(line.record.Time, slog.LevelWarn, "lines of the log lost, its reader was too slow", 0)
		r.AddAttrs(slog.Uint64("lines", n))
		_ = line.to.Handle(ctx, r)
	}
}
