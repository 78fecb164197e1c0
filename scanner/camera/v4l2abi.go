package camera

import (
	"encoding/binary"
	"strconv"
	"time"
)

// abi describes the structures of linux/videodev2.h on one kind of machine.
// They hold unsigned longs and times, so their sizes, and with them the numbers
// of the ioctls, differ. They are written as bytes here, so that each kind is
// tested on every machine.
type abi struct {
	// long is the size of an unsigned long in bytes, 4 or 8.
	long int
	// time64 says that the times of a v4l2_buffer are 64 bits wide. Always so on
	// 64-bit machines; on 32-bit ones since Linux 5.6, which still understands the old way if
	// it was built to.
	time64 bool
}

// abis are the kinds of this machine, the better first.
func abis() []abi {
	if strconv.IntSize == 64 {
		return []abi{{long: 8, time64: true}}
	}
	return []abi{{long: 4, time64: true}, {long: 4, time64: false}}
}

// Numbers of linux/videodev2.h.
const (
	capVideoCapture = 0x00000001
	capDeviceCaps   = 0x80000000
	capStreaming    = 0x04000000

	bufTypeCapture = 1
	memoryMmap     = 1
	fieldNone      = 1

	bufFlagError     = 0x00000040
	bufTimestamp     = 0x0000e000 // mask of whose clock the time is of
	bufTimeMonotonic = 0x00002000

	intervalDiscrete = 1

	pixGREY  = 0x59455247
	pixNV12  = 0x3231564e
	pixNV21  = 0x3132564e
	pixYU12  = 0x32315559
	pixYUYV  = 0x56595559
	pixMJPEG = 0x47504a4d
	pixJPEG  = 0x4745504a
)

// ioc makes the number of an ioctl of type 'V' (asm-generic/ioctl.h: x86, ARM).
func ioc(read, write bool, nr, size int) uint {
	n := uint(size)<<16 | 'V'<<8 | uint(nr)
	if write {
		n |= 1 << 30
	}
	if read {
		n |= 1 << 31
	}
	return n
}

// Sizes that are the same everywhere.
const (
	sizeCapability = 104
	sizeFmtDesc    = 64
	sizeInterval   = 52
	sizeReqBufs    = 20
	sizeInt        = 4
	sizeControl    = 8
	sizeQueryCtrl  = 68
)

func (abi) queryCap() uint   { return ioc(true, false, 0, sizeCapability) }
func (abi) enumFmt() uint    { return ioc(true, true, 2, sizeFmtDesc) }
func (a abi) getFmt() uint   { return ioc(true, true, 4, a.sizeFormat()) }
func (a abi) setFmt() uint   { return ioc(true, true, 5, a.sizeFormat()) }
func (abi) reqBufs() uint    { return ioc(true, true, 8, sizeReqBufs) }
func (a abi) queryBuf() uint { return ioc(true, true, 9, a.sizeBuffer()) }
func (a abi) qBuf() uint     { return ioc(true, true, 15, a.sizeBuffer()) }
func (a abi) dqBuf() uint    { return ioc(true, true, 17, a.sizeBuffer()) }
func (abi) setCtrl() uint    { return ioc(true, true, 28, sizeControl) }
func (abi) queryCtrl() uint  { return ioc(true, true, 36, sizeQueryCtrl) }
func (abi) intervals() uint  { return ioc(true, true, 75, sizeInterval) }
func (abi) streamOn() uint   { return ioc(false, true, 18, sizeInt) }
func (abi) streamOff() uint  { return ioc(false, true, 19, sizeInt) }

// sizeFormat is struct v4l2_format: a type and, aligned like the pointer in
// it, a union of 200 bytes.
func (a abi) sizeFormat() int { return a.long + 200 }

// sizeBuffer is struct v4l2_buffer.
func (a abi) sizeBuffer() int {
	switch {
	case a.long == 8:
		return 88
	case a.time64:
		return 80
	default:
		return 68
	}
}

// offMemory is where the member memory of a v4l2_buffer is; m follows it, and
// length follows m. Before it: five integers, a time aligned to its width, a
// time code of 16 bytes and the sequence number.
func (a abi) offMemory() int {
	if a.time64 {
		return 24 + 16 + 16 + 4
	}
	return 20 + 8 + 16 + 4
}

func (a abi) offM() int      { return a.offMemory() + 4 }
func (a abi) offLength() int { return a.offM() + a.long }

// taken is the time of a v4l2_buffer, since the start of the clock that its
// flags name: seconds and microseconds.
func (a abi) taken(b []byte) time.Duration {
	if a.time64 {
		return time.Duration(binary.NativeEndian.Uint64(b[24:]))*time.Second + time.Duration(binary.NativeEndian.Uint64(b[32:]))*time.Microsecond
	}
	return time.Duration(u32(b, 20))*time.Second + time.Duration(u32(b, 24))*time.Microsecond
}

// u32 reads and put32 writes an integer of a structure.
func u32(b []byte, at int) uint32      { return binary.NativeEndian.Uint32(b[at:]) }
func put32(b []byte, at int, v uint32) { binary.NativeEndian.PutUint32(b[at:], v) }

// pixFormat is what matters of struct v4l2_pix_format.
type pixFormat struct {
	width, height, pixel, stride uint32
}

// format makes a struct v4l2_format that asks for p.
func (a abi) format(p pixFormat) []byte {
	b := make([]byte, a.sizeFormat())
	put32(b, 0, bufTypeCapture)
	put32(b, a.long, p.width)
	put32(b, a.long+4, p.height)
	put32(b, a.long+8, p.pixel)
	put32(b, a.long+12, fieldNone)
	put32(b, a.long+16, p.stride)
	return b
}

// pix reads what the driver made of it.
func (a abi) pix(b []byte) pixFormat {
	return pixFormat{u32(b, a.long), u32(b, a.long+4), u32(b, a.long+8), u32(b, a.long+16)}
}

// buffer makes a struct v4l2_buffer that names one of the driver's buffers.
func (a abi) buffer(index uint32) []byte {
	b := make([]byte, a.sizeBuffer())
	put32(b, 0, index)
	put32(b, 4, bufTypeCapture)
	put32(b, a.offMemory(), memoryMmap)
	return b
}
