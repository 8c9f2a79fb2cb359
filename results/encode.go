package results

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The V2 format of a histogram, big endian, as in the Java library's
// AbstractHistogram.encodeIntoByteBuffer:
//
//	offset size
//	     0    4 cookie 0x1c849313 (V2, word size 1)
//	     4    4 length of the counts in bytes
//	     8    4 normalizing index offset, 0
//	    12    4 significant digits
//	    16    8 lowest discernible value
//	    24    8 highest trackable value
//	    32    8 integer to double conversion ratio, 1.0
//	    40    … counts up to the last that is not zero, ZigZag LEB128; a negative
//	            number stands for so many zeros
//
// and compressed: cookie 0x1c849314, length, the above through zlib.
const (
	v2Cookie           = hdrhistogram.V2EncodingCookieBase | 0x10
	v2CompressedCookie = hdrhistogram.V2CompressedEncodingCookieBase | 0x10
)

// encoder writes histograms in the compressed V2 format. It does what the
// library's Encode does and keeps its buffers, over a megabyte of which would
// otherwise be garbage with every histogram of a running measurement.
type encoder struct {
	raw    []byte
	zipped bytes.Buffer
	zip    *zlib.Writer
	text   []byte
}

// encode returns the base64 text of h, valid until the next call.
func (e *encoder) encode(h *hdrhistogram.Histogram) ([]byte, error) {
	s := h.Export()
	e.raw = appendV2(e.raw[:0], s)
	e.zipped.Reset()
	e.zipped.Write(make([]byte, 8)) // room for the head
	if e.zip == nil {
		e.zip = zlib.NewWriter(&e.zipped)
	} else {
		e.zip.Reset(&e.zipped)
	}
	if _, err := e.zip.Write(e.raw); err != nil {
		return nil, fmt.Errorf("compress histogram: %w", err)
	}
	if err := e.zip.Close(); err != nil {
		return nil, fmt.Errorf("compress histogram: %w", err)
	}
	out := e.zipped.Bytes()
	binary.BigEndian.PutUint32(out, uint32(v2CompressedCookie))
	binary.BigEndian.PutUint32(out[4:], uint32(len(out)-8))
	e.text = base64.StdEncoding.AppendEncode(e.text[:0], out)
	return e.text, nil
}

func appendV2(dst []byte, s *hdrhistogram.Snapshot) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(v2Cookie))
	dst = binary.BigEndian.AppendUint32(dst, 0) // length, below
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.SignificantFigures))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.LowestTrackableValue))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.HighestTrackableValue))
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(1))
	head := len(dst)
	var zeros int64
	for _, n := range s.Counts {
		if n == 0 {
			zeros++
			continue
		}
		if zeros == 1 {
			dst = binary.AppendVarint(dst, 0)
		} else if zeros > 1 {
			dst = binary.AppendVarint(dst, -zeros)
		}
		zeros = 0
		dst = binary.AppendVarint(dst, n)
	}
	if len(dst) == head { // an empty histogram has one count, of zero
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint32(dst[head-36:], uint32(len(dst)-head))
	return dst
}
