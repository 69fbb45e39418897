// Package bench measures what a registration, a call and a relayed packet
// cost: a whole server in this process, on sockets of loopback, and a client
// that does as little as it can. Beside ns/op and allocations each benchmark
// reports cpu-µs/op, which is all processor time of the process, the client's
// and the system's included, and each has a baseline in the same run:
//
//	go test -bench . -benchmem ./bench
//
// These figures are for comparing with one another and with those of the
// commit before, on the same machine; how much one core takes is another
// matter (bench-media, docs/performance.md).
package bench
