// Package index says how freely people pass at a place or in a county, and how
// often its gates stop somebody for the sake of health: the flow index and the
// control index of docs/index.md, from hourly counts. It knows no clock, no disk
// and no person.
package index
