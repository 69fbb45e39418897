package phone

import "math"

const (
	sampleRate   = 8000 // Hz, PCMU (RFC 3551 §4.5.14)
	frameSamples = 160  // 20 ms
	toneSamples  = 800  // what Hears looks at: 100 ms, a filter about 10 Hz wide
	toneShare    = 0.5  // part of the energy that must lie at the tone
	toneLoudness = 500  // root mean square below which a window is silence
)

// sine writes the next samples of a tone of frequency hz that has been sounding for n samples.
func sine(out []int16, hz float64, n uint32) {
	for i := range out {
		t := float64(n+uint32(i)) / sampleRate
		out[i] = int16(8000 * math.Sin(2*math.Pi*hz*t))
	}
}

// ToneIn tells which part of the energy of the samples lies at hz: 1 for a pure tone, 0 for
// silence. It is Goertzel's algorithm.
func ToneIn(samples []int16, rate int, hz float64) float64 {
	var s1, s2, energy float64
	k := 2 * math.Cos(2*math.Pi*hz/float64(rate))
	for _, v := range samples {
		x := float64(v)
		energy += x * x
		s1, s2 = x+k*s1-s2, s1
	}
	n := float64(len(samples))
	if n == 0 || energy/n < toneLoudness*toneLoudness {
		return 0
	}
	power := s1*s1 + s2*s2 - k*s1*s2
	return power * 2 / (n * energy)
}

// Compress is the encoder of ITU-T G.711 µ-law.
func Compress(v int16) byte {
	const bias, clip = 0x84, 32635
	sign := byte(0)
	x := int(v)
	if x < 0 {
		sign, x = 0x80, -x
	}
	x = min(x, clip) + bias
	exponent := 7
	for mask := 0x4000; x&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	return ^(sign | byte(exponent<<4) | byte(x>>(exponent+3))&0x0f)
}

// Expand is the decoder of ITU-T G.711 µ-law.
func Expand(b byte) int16 {
	b = ^b
	x := (int(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		x = -x
	}
	return int16(x)
}
