package ks_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sotto/internal/ks"
)

// The critical values of Kolmogorov's distribution, as every table has them.
func TestCriticalValues(t *testing.T) {
	const n = 100_000 // of each: the correction for small samples is nothing
	for _, c := range []struct{ lambda, p float64 }{{1.2238, 0.10}, {1.3581, 0.05}, {1.6276, 0.01}, {1.9495, 0.001}} {
		shift := int(math.Round(c.lambda * math.Sqrt(2.0/n) * n))
		a, b := make([]time.Duration, n), make([]time.Duration, n)
		for i := range n {
			a[i], b[i] = time.Duration(i), time.Duration(i+shift)
		}
		if d, p := ks.Test(a, b); math.Abs(d-float64(shift)/n) > 1e-9 || math.Abs(p/c.p-1) > 0.02 {
			t.Errorf("distance %v has p %v; want about %v", d, p, c.p)
		}
	}
}

func TestOneOriginIsCalledTwoAsOftenAsItShould(t *testing.T) {
	random, low := rand.New(rand.NewPCG(1, 2)), 0
	const trials, n = 2000, 100
	for range trials {
		if _, p := ks.Test(uniform(random, n, 0), uniform(random, n, 0)); p < 0.05 {
			low++
		}
	}
	if share := float64(low) / trials; share < 0.03 || share > 0.065 {
		t.Errorf("of samples of one origin %.3f have p < 0.05", share)
	}
}

func TestTwoOriginsAreFound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	if _, p := ks.Test(uniform(random, 500, 0), uniform(random, 500, 250)); p > 1e-6 {
		t.Errorf("samples a quarter apart have p %v", p)
	}
}

func TestSamplesThatTellNothing(t *testing.T) {
	for _, c := range [][2][]time.Duration{{nil, {1}}, {{1}, nil}, {{5, 1, 3}, {3, 5, 1}}} {
		if d, p := ks.Test(c[0], c[1]); d != 0 || p != 1 {
			t.Errorf("%v: distance %v, p %v", c, d, p)
		}
	}
}

// uniform draws n times of a second, and a little later.
func uniform(random *rand.Rand, n int, later time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = later + time.Duration(random.IntN(1000))
	}
	return all
}
