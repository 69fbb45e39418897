package main

import (
	"fmt"
	"net"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// A sink counts the packets that arrive and how long they took, and drops
// them, before the system does anything else with them: the receiver costs
// the same little, whoever relays.
type sink struct {
	counts *ebpf.Map // packets by microseconds (1,024 ns) that they took
	prog   *ebpf.Program
}

// slots bounds what is told apart (ours: 8 ms; what takes longer is in the last).
const slots = 8192

func newSink() (*sink, error) {
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: slots})
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	const pass, drop = -1, 2 // TCX_NEXT, TCX_DROP
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), // the length of the frame
			asm.JNE.Imm(asm.R2, frameSize, "pass"),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, stampAt),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -8),
			asm.Mov.Imm(asm.R4, 8),
			asm.FnSkbLoadBytes.Call(),
			asm.JNE.Imm(asm.R0, 0, "pass"),
			asm.LoadMem(asm.R7, asm.RFP, -8, asm.DWord),
			asm.JEq.Imm(asm.R7, 0, "drop"), // not of the measurement
			asm.FnKtimeGetNs.Call(),
			asm.Sub.Reg(asm.R0, asm.R7),
			asm.RSh.Imm(asm.R0, 10),
			asm.JLT.Imm(asm.R0, slots, "count"),
			asm.Mov.Imm(asm.R0, slots-1),
			asm.StoreMem(asm.RFP, -12, asm.R0, asm.Word).WithSymbol("count"),
			asm.LoadMapPtr(asm.R1, counts.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -12),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "drop"),
			asm.Mov.Imm(asm.R1, 1),
			asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, drop).WithSymbol("drop"),
			asm.Return(),
			asm.Mov.Imm(asm.R0, pass).WithSymbol("pass"),
			asm.Return(),
		},
	})
	if err != nil {
		_ = counts.Close()
		return nil, fmt.Errorf("sink: %w", err)
	}
	return &sink{counts, prog}, nil
}

// at drops what comes to an interface from now on, until the link is closed.
func (s *sink) at(e end) (l link.Link, err error) {
	err = inside(e.ns, func() error {
		dev, err := net.InterfaceByName(e.dev)
		if err != nil {
			return err
		}
		l, err = link.AttachTCX(link.TCXOptions{Interface: dev.Index, Program: s.prog, Attach: ebpf.AttachTCXIngress})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sink at %s: %w", e.dev, err)
	}
	return l, nil
}

// A histogram is how many packets took so long.
type histogram [slots]uint64

// read is what has arrived so far.
func (s *sink) read() (*histogram, error) {
	h := new(histogram)
	for i := range h {
		if err := s.counts.Lookup(uint32(i), &h[i]); err != nil {
			return nil, fmt.Errorf("reading the sink: %w", err)
		}
	}
	return h, nil
}

// since is what has arrived since an earlier reading.
func (h *histogram) since(earlier *histogram) *histogram {
	d := new(histogram)
	for i := range h {
		d[i] = h[i] - earlier[i]
	}
	return d
}

func (h *histogram) total() (n uint64) {
	for _, v := range h {
		n += v
	}
	return n
}

// quantile is the time within which that part of the packets arrived.
func (h *histogram) quantile(part float64) time.Duration {
	left := uint64(part * float64(h.total()))
	for i, v := range h {
		if v > left {
			return time.Duration(i) * 1024
		}
		left -= v
	}
	return slots * 1024
}
