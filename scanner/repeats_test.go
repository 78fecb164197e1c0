package scanner

import (
	"testing"
	"time"
)

func TestRepeats(t *testing.T) {
	r := Repeats{Within: 2 * time.Second}
	start := time.Unix(1000, 0)
	for _, tt := range []struct {
		after time.Duration
		code  string
		want  bool
	}{
		{0, "alice", false},
		{500 * time.Millisecond, "alice", true},
		{1 * time.Second, "bob", false},  // behind her in the picture
		{2 * time.Second, "alice", true}, // still held up
		{2500 * time.Millisecond, "bob", true},
		{3900 * time.Millisecond, "alice", true},  // 1.9 s after the last sighting
		{5900 * time.Millisecond, "alice", false}, // taken away for 2 s
		{6 * time.Second, "c", false},
		{6 * time.Second, "d", false},
		{6 * time.Second, "e", false}, // bob, the oldest, is forgotten long before
		{6100 * time.Millisecond, "alice", true},
		{6200 * time.Millisecond, "bob", false},
	} {
		if got := r.Again([]byte(tt.code), start.Add(tt.after)); got != tt.want {
			t.Errorf("%s %s: repeat %v, want %v", tt.after, tt.code, got, tt.want)
		}
	}
}

func TestRepeatsOff(t *testing.T) {
	var r Repeats
	for range 3 {
		if r.Again([]byte("alice"), time.Unix(1, 0)) {
			t.Error("zero Repeats saw a repeat")
		}
	}
}
