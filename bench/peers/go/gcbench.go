// gcbench.go - twin of gcbench_work.h.
package main

import "time"

func init() { works["gcbench"] = gcbenchWork }

const gcbenchArray = 500000

type bush struct {
	left, right *bush
	i, j        int32
}

func bushNodes(depth int) int { return 1<<(depth+1) - 1 }

func (b *bush) populate(depth int) {
	if depth > 0 {
		b.left, b.right = new(bush), new(bush)
		b.left.populate(depth - 1)
		b.right.populate(depth - 1)
	}
}

func bushTopDown(depth int) *bush {
	b := new(bush)
	b.populate(depth)
	return b
}

func bushBottomUp(depth int) *bush {
	if depth == 0 {
		return new(bush)
	}
	left, right := bushBottomUp(depth-1), bushBottomUp(depth-1)
	return &bush{left: left, right: right}
}

func (b *bush) count() uint64 {
	if b.left == nil {
		return 1
	}
	return 1 + b.left.count() + b.right.count()
}

func gcbenchPart() uint64 {
	depth := arg("depth", 16)
	stretch := depth + 2
	sum := bushBottomUp(stretch).count()
	lives := bushTopDown(depth)
	array := make([]float64, gcbenchArray)
	for i := range array {
		array[i] = 1 / float64(i+1)
	}
	for d := 4; d <= depth; d += 2 {
		times := 2 * bushNodes(stretch) / bushNodes(d)
		for i := 0; i < times; i++ {
			sum += bushTopDown(d).count()
		}
		for i := 0; i < times; i++ {
			sum += bushBottomUp(d).count()
		}
	}
	sum += lives.count()
	if array[999] != 1.0/1000 {
		fail("the array has changed")
	}
	return sum
}

func gcbenchWork() {
	threads := arg("threads", 1)
	sums := make(chan uint64)
	start := time.Now()
	for i := 0; i < threads; i++ {
		go func() { sums <- gcbenchPart() }()
	}
	var sum uint64
	for i := 0; i < threads; i++ {
		sum += <-sums
	}
	print("ms", msSince(start))
	check(sum)
}
