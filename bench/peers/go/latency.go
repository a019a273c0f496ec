// latency.go - twin of sched_latency_bench.c and stw_stop_bench.c.
package main

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

func init() {
	works["sleep"] = sleepWork
	works["fair"] = fairWork
	works["share"] = shareWork
	works["blocking"] = blockingWork
	works["syscall"] = syscallWork
	works["stop"] = stopWork
	works["collect"] = collectWork
}

var loopsStarted int32

func startLoops(n int) {
	for i := 0; i < n; i++ {
		go func() {
			atomic.AddInt32(&loopsStarted, 1)
			for {
			}
		}()
	}
	for int(atomic.LoadInt32(&loopsStarted)) < n {
		time.Sleep(100 * time.Microsecond)
	}
}

func sleepWork() {
	length := time.Duration(arg("us", 1000)) * time.Microsecond
	n := arg("n", 200)
	var late samples
	startLoops(arg("loops", 2))
	for i := 0; i < n; i++ {
		start := time.Now()
		time.Sleep(length)
		late = append(late, float64((time.Since(start) - length).Nanoseconds()))
	}
	late.print("late", 1e3)
	check(uint64(n))
}

func fairWork() {
	n := arg("n", 50)
	var wait samples
	startLoops(arg("loops", 1))
	for i := 0; i < n; i++ {
		start := time.Now()
		runtime.Gosched()
		wait = append(wait, float64(time.Since(start).Nanoseconds()))
	}
	wait.print("wait", 1e6)
	check(uint64(n))
}

type counter struct {
	n   uint64
	pad [120]byte
}

func shareWork() {
	counters := make([]counter, arg("tasks", 8))
	for i := range counters {
		go func(c *counter) {
			for {
				atomic.AddUint64(&c.n, 1)
			}
		}(&counters[i])
	}
	time.Sleep(time.Duration(arg("ms", 30000)) * time.Millisecond)
	var sum, squares, least float64
	for i := range counters {
		n := float64(atomic.LoadUint64(&counters[i].n))
		sum += n
		squares += n * n
		if i == 0 || n < least {
			least = n
		}
	}
	tasks := float64(len(counters))
	print("index", sum*sum/(tasks*squares))
	print("least", least*tasks/sum)
	check(uint64(len(counters)))
}

func blockingWork() {
	tasks, ms := arg("tasks", 1000), arg("ms", 10)
	var over int32
	var longest time.Duration
	busyDone := make(chan bool)
	go func() {
		for last := time.Now(); atomic.LoadInt32(&over) == 0; {
			now := time.Now()
			if gap := now.Sub(last); gap > longest {
				longest = gap
			}
			last = now
		}
		close(busyDone)
	}()
	start := time.Now()
	done.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			t := syscall.NsecToTimespec(int64(ms) * 1e6)
			syscall.Nanosleep(&t, nil)
			done.Done()
		}()
	}
	done.Wait()
	print("total_ms", msSince(start))
	atomic.StoreInt32(&over, 1)
	<-busyDone
	print("gap_ms", float64(longest.Nanoseconds())/1e6)
	check(uint64(tasks))
}

// In batches, in turn: sched_latency_bench.c.
const batch = 200

//go:noinline
func rawBatch(parent uintptr) (wrong uint64, ns int64) {
	start := time.Now()
	for i := 0; i < batch; i++ {
		if r, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); r != parent {
			wrong++
		}
	}
	return wrong, time.Since(start).Nanoseconds()
}

//go:noinline
func batchThrough(parent uintptr) (wrong uint64, ns int64) {
	start := time.Now()
	for i := 0; i < batch; i++ {
		if r, _, _ := syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0); r != parent {
			wrong++
		}
	}
	return wrong, time.Since(start).Nanoseconds()
}

func syscallWork() {
	var wrong uint64
	var raw, extra samples
	parent, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	for i := 0; i < arg("n", 2000000)/batch; i++ {
		w1, first := rawBatch(parent)
		w2, through := batchThrough(parent)
		wrong += w1 + w2
		raw = append(raw, float64(first)/batch)
		extra = append(extra, float64(through-first)/batch)
	}
	print("raw_ns", raw.median())
	print("extra_ns", extra.median())
	check(wrong)
}

// stopWork stops the world for statistics, which is the shortest thing that
// stops it from outside: the times contain reading them.
func stopWork() {
	n := arg("n", 1000)
	var stop samples
	var stats runtime.MemStats
	startLoops(arg("loops", 0))
	for i := 0; i < n; i++ {
		start := time.Now()
		runtime.ReadMemStats(&stats)
		stop = append(stop, float64(time.Since(start).Nanoseconds()))
		time.Sleep(time.Duration(arg("us", 500)) * time.Microsecond)
	}
	stop.print("stop", 1e3)
	check(uint64(n))
}

func collectWork() {
	n := arg("n", 200)
	var collect samples
	startLoops(arg("loops", 1))
	for i := 0; i < n; i++ {
		start := time.Now()
		runtime.GC()
		collect = append(collect, float64(time.Since(start).Nanoseconds()))
		time.Sleep(time.Duration(arg("us", 500)) * time.Microsecond)
	}
	collect.print("collect", 1e3)
	check(uint64(n))
}
