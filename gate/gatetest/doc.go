// Package gatetest is a whole lane on a workbench: small working fakes of
// everything a lane touches, and a [Rig] that plays a story on them inside a
// synctest bubble and writes down what happened as a timeline.
package gatetest
