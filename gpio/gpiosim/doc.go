// Package gpiosim is a lane in memory: lights, relays, a turnstile with its
// contacts, a fire circuit and a thermometer, behind the same pins and the
// same bus that package gpio takes on a board.
//
// It is for the simulated gate and for tests. Everything runs on the package
// time, so inside a testing/synctest bubble the lane runs on the bubble's clock.
package gpiosim
