package publisher

import (
	"greengate/pass/statuslist"
)

// encodeList returns the list as gates fetch it: CBOR with zlib inside.
func encodeList(info statuslist.Info, raw []byte) ([]byte, error) {
	l, err := statuslist.FromRaw(raw, info.Bits)
	if err != nil {
		return nil, err
	}
	return l.MarshalCBOR()
}
