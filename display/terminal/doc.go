// Package terminal draws the gate as text: one line for each view, for a log, a
// serial console or a demonstration without a browser.
//
// Names arrive masked and are shown so; they are for the eyes in front of the
// gate, so what is drawn here must not be kept as a log.
package terminal
