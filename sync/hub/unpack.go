package hub

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"greengate/gate/passage"
)

// unpacker decodes batches. It allocates no more than a batch may have, whatever
// a frame claims, and takes no window beyond that.
var unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(passage.MaxBatchBytes),
		zstd.WithDecoderMaxWindow(passage.MaxBatchBytes), zstd.WithDecoderLowmem(true))
})

// unpackBatch undoes a batch's compression. The error wraps
// passage.ErrMalformed or passage.ErrTooLarge.
func unpackBatch(packed []byte) ([]byte, error) {
	d, err := unpacker()
	if err != nil {
		return nil, err
	}
	data, err := d.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", passage.ErrMalformed, err)
	}
	if len(data) > passage.MaxBatchBytes {
		return nil, fmt.Errorf("%w: %d bytes unpacked", passage.ErrTooLarge, len(data))
	}
	return data, nil
}
