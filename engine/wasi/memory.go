package wasi

import "encoding/binary"

// span is a part of memory, nil where it does not lie inside. Numbers come from 32 bits each, times 48
// at most, so the sum does not wrap.
func (s *System) span(ptr, n uint64) []byte {
	if ptr+n > uint64(len(s.mem)) {
		return nil
	}
	if s.mem == nil {
		return []byte{}
	}
	return s.mem[ptr : ptr+n : ptr+n]
}

func (s *System) put32(ptr uint64, v uint32) errno {
	b := s.span(ptr, 4)
	if b == nil {
		return fault
	}
	binary.LittleEndian.PutUint32(b, v)
	return success
}

func (s *System) put64(ptr, v uint64) errno {
	b := s.span(ptr, 8)
	if b == nil {
		return fault
	}
	binary.LittleEndian.PutUint64(b, v)
	return success
}

// maxVectors is POSIX's IOV_MAX on Linux. Without it one call could name the same 4 GB 500 million times.
const maxVectors = 1024

// vectors is a list of parts of memory, as readv and writev take it.
type vectors struct {
	s    *System
	list []byte
}

// vectors checks the list before anything is moved. Together the parts hold no more than memory does.
func (s *System) vectors(ptr, n uint64) (vectors, errno) {
	if n > maxVectors {
		return vectors{}, inval
	}
	v := vectors{s: s, list: s.span(ptr, 8*n)}
	if v.list == nil {
		return vectors{}, fault
	}
	total := uint64(0)
	for at := 0; at < len(v.list); at += 8 {
		b := v.at(at)
		if b == nil {
			return vectors{}, fault
		}
		total += uint64(len(b))
	}
	if total > uint64(len(s.mem)) {
		return vectors{}, inval
	}
	return v, success
}

func (v vectors) at(k int) []byte {
	return v.s.span(uint64(binary.LittleEndian.Uint32(v.list[k:])), uint64(binary.LittleEndian.Uint32(v.list[k+4:])))
}

// each hands the parts that hold something to move, until one is not moved as a whole.
func (v vectors) each(move func(b []byte) (int, error)) (moved uint32, err error) {
	for k := 0; k < len(v.list); k += 8 {
		b := v.at(k)
		if b == nil {
			return moved, nil // the list lies in a part that was read into
		}
		if len(b) == 0 {
			continue
		}
		n, err := move(b)
		moved += uint32(n)
		if err != nil || n < len(b) || v.s.interrupted() {
			return moved, err
		}
	}
	return moved, nil
}
