// Package camera reads codes from pictures: of a V4L2 camera, of a stream that
// another program writes (rpicam-vid), or in a folder.
//
// A [Source] delivers pictures as the device has them; a [Reader] turns the
// newest into brightness, asks a [Decoder] for the code in it, and emits
// scans. Pictures of a live camera are never queued: while one is decoded, later ones
// replace each other, so that what is decoded is what is in front of the gate
// now. JPEG is only unpacked for a picture that is looked at; unpacking costs
// more than finding the code.
package camera
