package phone

import "testing"

func TestMuLawKeepsTheSample(t *testing.T) {
	for v := -32000; v <= 32000; v += 7 {
		got := int(Expand(Compress(int16(v))))
		if d := got - v; d > 1100 || d < -1100 || (v > 1000 && got <= 0) {
			t.Fatalf("%d became %d", v, got)
		}
	}
	if got := Expand(Compress(0)); got != 0 {
		t.Errorf("silence became %d", got)
	}
}

func TestToneIsRecognised(t *testing.T) {
	samples := make([]int16, toneSamples)
	sine(samples, 440, 12345)
	for i, v := range samples {
		samples[i] = Expand(Compress(v))
	}
	for hz, want := range map[float64]bool{440: true, 480: false, 880: false, 1000: false} {
		if got := ToneIn(samples, sampleRate, hz) > toneShare; got != want {
			t.Errorf("%v Hz in a tone of 440 Hz: %v (share %.2f)", hz, got, ToneIn(samples, sampleRate, hz))
		}
	}
	if ToneIn(make([]int16, toneSamples), sampleRate, 440) != 0 || ToneIn(nil, sampleRate, 440) != 0 {
		t.Error("silence holds a tone")
	}
}

func TestTwoTonesAreBothThere(t *testing.T) {
	a, b := make([]int16, toneSamples), make([]int16, toneSamples)
	sine(a, 500, 0)
	sine(b, 900, 0)
	for i := range a {
		a[i] = a[i]/2 + b[i]/2
	}
	for _, hz := range []float64{500, 900} {
		if s := ToneIn(a, sampleRate, hz); s < 0.4 || s > 0.6 {
			t.Errorf("%v Hz: share %.2f, want a half", hz, s)
		}
	}
}
