package e2e

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"time"

	"sotto/proxy/phone"
)

const wavRate = 8000

// toneWAV is a WAV file with a tone.
func toneWAV(hz float64, long time.Duration) []byte {
	n := int(long.Seconds() * wavRate)
	var b bytes.Buffer
	b.WriteString("RIFF")
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a buffer takes everything
	le(uint32(36 + 2*n))
	b.WriteString("WAVEfmt ")
	for _, v := range []any{
		uint32(16), uint16(1), uint16(1), uint32(wavRate), uint32(2 * wavRate), uint16(2), uint16(16),
	} {
		le(v)
	}
	b.WriteString("data")
	le(uint32(2 * n))
	for i := range n {
		le(int16(9000 * math.Sin(2*math.Pi*hz*float64(i)/wavRate)))
	}
	return b.Bytes()
}

// wavHas tells whether a recording has a tone for at least half a second.
// linphonec writes the header when it closes the file: until then the rate is
// one of those that its codecs have.
func wavHas(file string, hz float64) bool {
	data, err := os.ReadFile(file)
	if err != nil || len(data) < wavHeader {
		return false
	}
	rates := []int{8000, 16000, 48000}
	if rate := int(binary.LittleEndian.Uint32(data[24:])); rate != 0 {
		rates = []int{rate}
	}
	samples := make([]int16, (len(data)-wavHeader)/2)
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(data[wavHeader+2*i:]))
	}
	return slices.ContainsFunc(rates, func(rate int) bool { return has(samples, rate, hz) })
}

const wavHeader = 44 // RIFF, fmt and the start of data, as both phones write it: one channel, 16 bits

// has tells whether samples have a tone for at least half a second.
func has(samples []int16, rate int, hz float64) bool {
	found := 0
	for window := range slices.Chunk(samples, rate/10) {
		if len(window) == rate/10 && phone.ToneIn(window, rate, hz) > 0.5 {
			found++
		}
	}
	return found >= 5
}

// toneULaw is a tone as SIPp streams it: G.711 µ-law without a header.
func toneULaw(hz float64, long time.Duration) []byte {
	b := make([]byte, int(long.Seconds()*wavRate))
	for i := range b {
		b[i] = phone.Compress(int16(9000 * math.Sin(2*math.Pi*hz*float64(i)/wavRate)))
	}
	return b
}
