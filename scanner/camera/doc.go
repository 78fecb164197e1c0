// Package camera reads codes from pictures: of a V4L2 camera, of a stream that
// another program writes (rpicam-vid), or in a folder.
//
// A [Source] delivers pictures as the device has them; a [Reader] turns the
// newest into brightness, asks an [Eye] for the codes in it, and emits scans.
//
// Pictures of a live camera are never queued: while one is looked at, later
// ones replace each other, so that what is looked at is what is in front of the
// gate now. With two processor cores one picture is unpacked while the one
// before is looked at; unpacking a JPEG costs more than finding the code.
//
// The eye is spared what would be in vain. A glance at 15,000 points of a
// picture tells that it is the one before again, within noise, or that no code
// can be in it: too dark, too bright, without contrast, without an edge. Each
// is skipped for a bounded time only, and counted under its reason
// ([Figures]). Where a code or a finder was is looked at before the whole
// picture. Who aims the camera can [Reader.Watch] all this; no picture is ever
// kept or written.
//
// A camera that is unplugged or silent is opened again until it is there.
package camera
