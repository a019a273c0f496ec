// alloc.go - twin of gc_work.h.
package main

import (
	"runtime/debug"
	"time"
	"unsafe"
)

func init() {
	works["trees"] = treesWork
	works["alloc"] = allocWork
	works["padding"] = paddingWork
	works["hash"] = hashWork
	works["mixed"] = mixedWork
}

// together runs f(0) .. f(n-1) at the same time and adds what they return.
func together(n int, f func(int) uint64) uint64 {
	sums := make(chan uint64)
	for i := 0; i < n; i++ {
		go func(i int) { sums <- f(i) }(i)
	}
	var sum uint64
	for i := 0; i < n; i++ {
		sum += <-sums
	}
	return sum
}

type tree struct{ left, right *tree }

func newTree(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{newTree(depth - 1), newTree(depth - 1)}
}

func (t *tree) count() uint64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func treesWork() {
	depth, rounds := arg("depth", 18), arg("rounds", 8)
	start := time.Now()
	nodes := together(arg("threads", 1), func(int) (n uint64) {
		for i := 0; i < rounds; i++ {
			n += newTree(depth).count()
		}
		return n
	})
	print("ns", msSince(start)*1e6/float64(nodes))
	check(nodes)
}

const allocKept = 1024

// Sizes are types in Go; the first word takes the number.
type (
	p16   struct{ n, _ *byte }
	p32   struct{ n, _, _, _ *byte }
	p64   [8]*byte
	p512  [64]*byte
	p4096 [512]*byte
)

type numbered interface{ p16 | p32 | p64 | p512 | p4096 }

func allocPointers[T numbered](n int) uint64 {
	kept := make([]*T, allocKept)
	numbers := make([]uint64, allocKept)
	for i := 0; i < n; i++ {
		kept[i%allocKept] = new(T)
		numbers[i%allocKept] = uint64(i)
	}
	var sum uint64
	for i, p := range kept {
		if p != nil {
			sum += numbers[i]
		}
	}
	return sum
}

func allocLeaves(n, bytes int) uint64 {
	kept := make([]*[4]uint64, allocKept)
	if bytes != 32 {
		fail("leaves are 32 bytes here")
	}
	for i := 0; i < n; i++ {
		p := new([4]uint64)
		p[0] = uint64(i)
		kept[i%allocKept] = p
	}
	var sum uint64
	for _, p := range kept {
		if p != nil {
			sum += p[0]
		}
	}
	return sum
}

func allocWork() {
	n, bytes, leaf := arg("n", 5000000), arg("bytes", 32), arg("leaf", 0)
	threads := arg("threads", 1)
	start := time.Now()
	sum := together(threads, func(int) uint64 {
		switch {
		case leaf != 0:
			return allocLeaves(n, bytes)
		case bytes == 16:
			return allocPointers[p16](n)
		case bytes == 32:
			return allocPointers[p32](n)
		case bytes == 64:
			return allocPointers[p64](n)
		case bytes == 512:
			return allocPointers[p512](n)
		case bytes == 4096:
			return allocPointers[p4096](n)
		}
		fail("no such size here")
		return 0
	})
	print("ns", msSince(start)*1e6/float64(n*threads))
	check(sum)
}

func paddingWork() {
	bytes := arg("bytes", 16)
	n := arg("total", 67108864) / bytes
	kept := make([][]byte, n)
	for i := range kept {
		kept[i] = kept[0]
	}
	before := rss()
	for i := range kept {
		b := make([]byte, bytes)
		for j := range b {
			b[j] = 1
		}
		kept[i] = b
	}
	print("bytes", (rss()-before)/float64(n))
	best := uintptr(1 << 62)
	for i := 1; i < n; i++ {
		a := uintptr(unsafe.Pointer(&kept[i-1][0]))
		b := uintptr(unsafe.Pointer(&kept[i][0]))
		if a > b {
			a, b = b, a
		}
		if b-a < best {
			best = b - a
		}
	}
	print("cell", float64(best))
	check(uint64(len(kept)))
}

type entry struct {
	next       *entry
	key, value uint64
}

func hashOperation(table []*entry, what uint32, key uint64) uint64 {
	head := &table[key%uint64(len(table))]
	at := head
	for *at != nil && (*at).key != key {
		at = &(*at).next
	}
	found := *at
	if what == 0 {
		if found != nil {
			return found.value
		}
		return 0
	}
	if found != nil {
		*at = found.next
	}
	if what == 1 {
		return 1
	}
	*head = &entry{*head, key, key * 3}
	return 2
}

func hashWork() {
	threads, n, ops := arg("threads", 1), arg("n", 1000000), arg("ops", 4000000)
	start := time.Now()
	sum := together(threads, func(part int) (sum uint64) {
		seed := uint64(part + 1)
		table := make([]*entry, n)
		for i := 0; i < n; i++ {
			hashOperation(table, 2, uint64(random(&seed))%uint64(2*n))
		}
		for i := 0; i < ops; i++ {
			what := random(&seed) % 3
			sum += hashOperation(table, what, uint64(random(&seed))%uint64(2*n))
		}
		return sum
	})
	print("ns", msSince(start)*1e6/float64((n+ops)*threads))
	check(sum)
}

func mixedSize(seed *uint64, lo uint32) uint32 {
	r := random(seed)
	return lo + r%(1<<(4+(r>>16)%8))
}

func mixedWork() {
	mib, churn := arg("mib", 128), arg("churn", 5)
	n := mib * 1048576 / 300
	seed, live := uint64(1), 0
	before := rss()
	slots := make([][]byte, n)
	replace := func(i int, bytes uint32) {
		live += int(bytes) - len(slots[i])
		b := make([]byte, bytes)
		for j := range b {
			b[j] = 1
		}
		slots[i] = b
	}
	for i := range slots {
		replace(i, mixedSize(&seed, 16))
	}
	start := time.Now()
	for i := 0; i < churn*n; i++ {
		at := int(random(&seed)) % n
		replace(at, mixedSize(&seed, 16))
	}
	print("churn_ns", msSince(start)*1e6/float64(churn*n))
	print("churned", (rss()-before)/float64(live))
	for i := 0; i < churn*n; i++ {
		at := int(random(&seed)) % n
		replace(at, mixedSize(&seed, 160))
	}
	print("shifted", (rss()-before)/float64(live))
	check(uint64(live))
	slots = nil
	debug.FreeOSMemory()
	time.Sleep(300 * time.Millisecond)
	print("left_mib", (rss()-before)/1048576)
}
