// tasks.go - twin of sched_tasks_bench.c.
package main

import (
	"os"
	"runtime"
	"runtime/trace"
	"sync"
	"sync/atomic"
	"time"
)

func init() {
	works["yield"] = yieldWork
	works["spawn"] = spawnWork
	works["pingpong"] = pingpongWork
	works["stream"] = streamWork
	works["crowd"] = crowdWork
	works["select"] = selectWork
	works["skynet"] = skynetWork
	works["sieve"] = sieveWork
	works["fib"] = fibWork
	works["park"] = parkWork
	works["mutex"] = mutexWork
	works["sort"] = sortWork
	works["trace"] = traceWork
}

var done sync.WaitGroup

func yieldWork() {
	tasks, n := arg("tasks", 2), arg("n", 1000000)
	each := n / tasks
	var total uint64
	start := time.Now()
	done.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for i := 0; i < each; i++ {
				runtime.Gosched()
			}
			atomic.AddUint64(&total, uint64(each))
			done.Done()
		}()
	}
	done.Wait()
	print("ns", msSince(start)*1e6/float64(total))
	check(total)
}

const spawnBatch = 64

func spawnWork() {
	n, spawned := arg("n", 1000000), 0
	start := time.Now()
	for spawned < n {
		done.Add(spawnBatch)
		for i := 0; i < spawnBatch; i++ {
			go done.Done()
		}
		done.Wait()
		spawned += spawnBatch
	}
	print("ns", msSince(start)*1e6/float64(spawned))
	check(uint64(spawned))
}

// pingpong returns ms.
func pingpong(n int, sum *uint64) float64 {
	there, back := make(chan uint64), make(chan uint64)
	go func() {
		for x := range there {
			back <- x + 1
		}
	}()
	var x uint64
	start := time.Now()
	for i := 0; i < n; i++ {
		there <- x
		x = <-back
	}
	ms := msSince(start)
	close(there)
	*sum += x
	return ms
}

func pingpongWork() {
	n, sum := arg("n", 500000), uint64(0)
	print("ns", pingpong(n, &sum)*1e6/float64(n))
	check(sum)
}

func streamWork() {
	n := arg("n", 5000000)
	there := make(chan uint64, arg("cap", 128))
	start := time.Now()
	go func() {
		for i := 0; i < n; i++ {
			there <- uint64(i)
		}
		close(there)
	}()
	var sum uint64
	for x := range there {
		sum += x
	}
	print("ns", msSince(start)*1e6/float64(n))
	check(sum)
}

func crowdWork() {
	const pairs = 8
	n := arg("n", 2000000)
	there := make(chan uint64, arg("cap", 128))
	each := n / pairs
	var total uint64
	start := time.Now()
	done.Add(2 * pairs)
	for i := 0; i < pairs; i++ {
		go func() {
			for i := 0; i < each; i++ {
				there <- uint64(i)
			}
			done.Done()
		}()
		go func() {
			var sum uint64
			for i := 0; i < each; i++ {
				sum += <-there
			}
			atomic.AddUint64(&total, sum)
			done.Done()
		}()
	}
	done.Wait()
	print("ns", msSince(start)*1e6/float64(n))
	check(total)
}

func selectWork() {
	arms := arg("arms", 2)
	each := arg("n", 500000) / arms
	c := make([]chan uint64, 8)
	for i := 0; i < arms; i++ {
		c[i] = make(chan uint64)
		go func(c chan uint64) {
			for i := 0; i < each; i++ {
				c <- uint64(i)
			}
		}(c[i])
	}
	var x, sum uint64
	start := time.Now()
	for i := 0; i < each*arms; i++ {
		if arms == 2 {
			select {
			case x = <-c[0]:
			case x = <-c[1]:
			}
		} else {
			select {
			case x = <-c[0]:
			case x = <-c[1]:
			case x = <-c[2]:
			case x = <-c[3]:
			case x = <-c[4]:
			case x = <-c[5]:
			case x = <-c[6]:
			case x = <-c[7]:
			}
		}
		sum += x
	}
	print("ns", msSince(start)*1e6/float64(each*arms))
	check(sum)
}

const skynetChildren = 10

func skynet(to chan uint64, first, leaves uint64) {
	if leaves == 1 {
		to <- first
		return
	}
	results := make(chan uint64)
	share := leaves / skynetChildren
	for i := uint64(0); i < skynetChildren; i++ {
		go skynet(results, first+i*share, share)
	}
	var sum uint64
	for i := 0; i < skynetChildren; i++ {
		sum += <-results
	}
	to <- sum
}

func skynetWork() {
	to := make(chan uint64)
	start := time.Now()
	go skynet(to, 0, uint64(arg("n", 1000000)))
	sum := <-to
	print("ms", msSince(start))
	check(sum)
}

func filter(in, out chan uint64, prime uint64) {
	for x := range in {
		if x%prime != 0 {
			out <- x
		}
	}
}

func sieveWork() {
	n := arg("n", 1000)
	in := make(chan uint64)
	var prime uint64
	start := time.Now()
	go func(out chan uint64) {
		for i := uint64(2); ; i++ {
			out <- i
		}
	}(in)
	for i := 0; i < n; i++ {
		prime = <-in
		out := make(chan uint64)
		go filter(in, out, prime)
		in = out
	}
	print("ms", msSince(start))
	check(prime)
}

func fib(n uint64, to chan uint64) {
	if n < 2 {
		to <- n
		return
	}
	results := make(chan uint64)
	go fib(n-1, results)
	go fib(n-2, results)
	to <- <-results + <-results
}

func fibWork() {
	to := make(chan uint64)
	start := time.Now()
	go fib(uint64(arg("n", 25)), to)
	sum := <-to
	print("ms", msSince(start))
	check(sum)
}

func parkWork() {
	n := arg("n", 1000000)
	gate := make(chan struct{})
	var total uint64
	before := rss()
	start := time.Now()
	done.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			<-gate
			atomic.AddUint64(&total, 1)
			done.Done()
		}()
	}
	runtime.Gosched()
	print("create_ms", msSince(start))
	time.Sleep(10 * time.Millisecond)
	print("bytes", (rss()-before)/float64(n))
	start = time.Now()
	close(gate)
	done.Wait()
	print("wake_ms", msSince(start))
	check(total)
}

func mutexWork() {
	tasks, n := arg("tasks", 8), arg("n", 8000000)
	var lock sync.Mutex
	var counter uint64
	start := time.Now()
	done.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for i := 0; i < n/tasks; i++ {
				lock.Lock()
				counter++
				lock.Unlock()
			}
			done.Done()
		}()
	}
	done.Wait()
	print("ns", msSince(start)*1e6/float64(counter))
	check(counter)
}

const sortAlone = 8192

// split is Hoare's partition around the middle number.
func split(v []uint32) int {
	pivot, i, j := v[(len(v)-1)/2], -1, len(v)
	for {
		for i++; v[i] < pivot; i++ {
		}
		for j--; v[j] > pivot; j-- {
		}
		if i >= j {
			return j + 1
		}
		v[i], v[j] = v[j], v[i]
	}
}

func quicksort(v []uint32) {
	for len(v) > 1 {
		middle := split(v)
		quicksort(v[middle:])
		v = v[:middle]
	}
}

func sortPart(v []uint32) {
	for len(v) > sortAlone {
		middle := split(v)
		done.Add(1)
		go sortPart(v[middle:])
		v = v[:middle]
	}
	quicksort(v)
	done.Done()
}

// sortAll returns ms.
func sortAll(n int, sum *uint64) float64 {
	v := make([]uint32, n)
	seed := uint64(1)
	for i := range v {
		v[i] = random(&seed)
	}
	start := time.Now()
	done.Add(1)
	sortPart(v)
	done.Wait()
	ms := msSince(start)
	for _, x := range v {
		*sum = *sum*31 + uint64(x)
	}
	return ms
}

func sortWork() {
	var sum uint64
	print("ms", sortAll(arg("n", 10000000), &sum))
	check(sum)
}

// A round with a trace, or without; returns ms.
func traceRound(work func(int, *uint64) float64, n int, traced bool, sum *uint64) float64 {
	if !traced {
		return work(n, sum)
	}
	f, err := os.CreateTemp("", "go-bench-")
	if err != nil || trace.Start(f) != nil {
		fail("no trace")
	}
	ms := work(n, sum)
	trace.Stop()
	f.Close()
	os.Remove(f.Name())
	return ms
}

func tracePrint(name string, work func(int, *uint64) float64, n int, sum *uint64) {
	var with, without samples
	traceRound(work, n, false, sum) // warms up
	for i := arg("rounds", 9); i > 0; i-- {
		without = append(without, traceRound(work, n, false, sum))
		with = append(with, traceRound(work, n, true, sum))
	}
	print(name+"_ns", (with.median()-without.median())*1e6/float64(n))
	print(name+"_percent", (with.median()/without.median()-1)*100)
}

func traceWork() {
	var sum uint64
	tracePrint("pingpong", pingpong, arg("n", 20000), &sum)
	tracePrint("sort", sortAll, 10*arg("n", 20000), &sum)
	check(sum)
}
