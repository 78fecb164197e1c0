// Package pass is the security boundary of greengate: what a code is, and
// whether it is genuine.
//
// A [Reader] is handed a stranger's bytes and gives back a [Credential] whose
// signature verified, or an error that says which check failed. It holds no
// colour: the colour of a code lives only in the status list that the
// credential points into (see pass/statuslist), so opening a code and looking
// it up are two steps, and the second is not done here.
//
// Formats are handed to the Reader where the program is put together; nothing
// registers itself. A further format is a package beside pass/healthcode that
// implements [Format].
package pass
