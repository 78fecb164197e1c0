// Package web shows the gate in a browser: the kiosk page at / for the person
// in front of the gate, and the guard's page at /guard.
//
// Both follow live by server-sent events; nothing polls. A client that does not
// keep up gets the latest view and never a queue of old ones, and the lane
// never waits for one. A page that hears nothing for a few seconds, or whose
// release has run out, shows "out of service" by itself: the last green does not
// outlive the connection.
//
// The pages need no network beyond the gate: everything is embedded, the
// content security policy allows nothing from elsewhere, and speech uses voices
// on the device alone.
//
// The server listens on the loopback address. Beyond it, [Listen] demands TLS
// with client certificates: a paired tablet is one that holds a certificate.
// The Host header is checked on every request, which shuts out DNS rebinding,
// and acts are accepted from the same origin only. Cookies do not know
// ports: whatever else serves pages on the same host name must be trusted.
//
// A kiosk browser wants `--kiosk --autoplay-policy=no-user-gesture-required`,
// or it stays silent until it is touched. The page at /?mute makes no sound.
package web
