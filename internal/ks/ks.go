// Package ks compares two samples as Kolmogorov and Smirnov do: could both be
// drawn from one distribution, whatever it is? Sotto asks it of times that a
// stranger measures.
package ks

import (
	"math"
	"slices"
	"time"
)

// Test returns the largest distance D between the distributions of two samples,
// and the probability p of at least that distance if they have one origin, by
// Smirnov's limit in the form of Stephens (1970), good to some percent of p from
// eight values in each. Ties make p too large, never too small: what is found
// different is. The samples are not changed. An empty one tells nothing: 0, 1.
func Test(a, b []time.Duration) (d, p float64) {
	if len(a) == 0 || len(b) == 0 {
		return 0, 1
	}
	d = distance(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	n := float64(len(a)) * float64(len(b)) / float64(len(a)+len(b))
	return d, tail((math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)) * d)
}

// distance is the largest distance between the distributions of sorted samples.
func distance(a, b []time.Duration) float64 {
	most, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		at := min(a[i], b[j])
		for i < len(a) && a[i] <= at {
			i++
		}
		for j < len(b) && b[j] <= at {
			j++
		}
		most = max(most, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return most
}

// tail is the probability that Kolmogorov's distribution exceeds x:
// 2 Σ (-1)^(k-1) e^(-2k²x²), and 1 where that converges slowly.
func tail(x float64) float64 {
	if x < 0.2 {
		return 1 // by less than 10⁻¹²
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; k < 100; k++ {
		term := math.Exp(-2 * k * k * x * x)
		sum += sign * term
		if term < 1e-16 {
			break
		}
		sign = -sign
	}
	return min(max(2*sum, 0), 1)
}
