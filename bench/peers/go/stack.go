// stack.go - twin of stack_boundary_bench.c's descent.
package main

import "time"

func init() { works["descent"] = descentWork }

//go:noinline
func descend(n uint64, end *time.Time) uint64 {
	if n == 0 {
		*end = time.Now()
		return 0
	}
	return descend(n-1, end) + n
}

func descentWork() {
	depth, n := uint64(arg("depth", 10000)), arg("n", 20)
	var sum uint64
	once := func() float64 {
		ns := make(chan float64)
		go func() {
			start := time.Now()
			end := start
			sum += descend(depth, &end)
			ns <- float64(end.Sub(start).Nanoseconds()) / float64(depth)
		}()
		return <-ns
	}
	print("first_ns", once())
	var all float64
	for i := 0; i < n; i++ {
		all += once()
	}
	print("ns", all/float64(n))
	check(sum)
}
