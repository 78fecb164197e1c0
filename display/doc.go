// Package display is what people see and hear at the gate.
//
// The lane makes a [gate.View]; with the [Health] of the device it becomes a
// [View], the one thing that every face draws: display/web for kiosk browsers
// and the guard's tablet, display/terminal for a log or a bare console. This
// package holds what the faces share: the words of each language, the shape and
// colour of each state, and the tones.
//
// Words live in words/, one file for each language. Another language is another
// file; a test fails while it lacks a word.
package display
