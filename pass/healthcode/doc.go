// Package healthcode issues and opens the native codes of greengate: health
// codes and entry permits behind the prefix "JKM1:".
package healthcode
