// Package statuslist holds IETF Token Status Lists
// (draft-ietf-oauth-status-list): packed arrays of 1, 2, 4 or 8 bits a code.
//
// [List] is the array, [Info] what the authority signs about one generation
// of it, and [Token] the CWT form in which a list goes to third parties. What
// the values mean as colours is not known here.
package statuslist
