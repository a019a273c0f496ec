// mark.go - twin of mark_work.h and gc_mark_bench.c.
package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

func init() {
	works["graph"] = graphWork
	works["live"] = liveWork
	works["stacks"] = stacksWork
}

type vertex struct {
	left, right    *vertex
	number, unused uint64
}

const graphCollections = 3

var graphRoot *vertex

func newGraph(n int, shuffled bool) {
	all := make([]*vertex, n)
	for i := range all {
		all[i] = &vertex{}
	}
	if shuffled {
		seed := uint64(1)
		for i := n - 1; i > 0; i-- {
			j := int(uint64(random(&seed)) % uint64(i+1))
			all[i], all[j] = all[j], all[i]
		}
	}
	for i, v := range all {
		v.number = uint64(i)
		if 2*i+1 < n {
			v.left = all[2*i+1]
		}
		if 2*i+2 < n {
			v.right = all[2*i+2]
		}
	}
	graphRoot = all[0]
}

func graphWork() {
	n := arg("n", 4000000)
	newGraph(n, arg("random", 1) != 0)
	runtime.GC()
	start := time.Now()
	for i := 0; i < graphCollections; i++ {
		runtime.GC()
	}
	print("mobj_s", float64(n)*graphCollections/(msSince(start)*1e3))
	var sum uint64
	for v := graphRoot; v != nil; v = v.right {
		sum += v.number
	}
	check(sum)
}

type record struct {
	first, second *record
	number        uint64
	payload       [40]byte
}

func newRecord(number uint64) *record {
	r := &record{number: number}
	r.first = &record{number: number}
	r.second = &record{number: number}
	return r
}

func readPauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64Histogram()
}

// printPauses prints what was added to a histogram of seconds, in ms.
func printPauses(before, after *metrics.Float64Histogram) {
	var counts []uint64
	var total uint64
	for i := range after.Counts {
		counts = append(counts, after.Counts[i]-before.Counts[i])
		total += counts[i]
	}
	if total == 0 {
		return
	}
	quantile := func(q float64) float64 {
		var below uint64
		last := 0.0
		for i, c := range counts {
			if c == 0 {
				continue
			}
			below += c
			last = after.Buckets[i] * 1e3
			if float64(below) > q*float64(total) {
				break
			}
		}
		return last
	}
	print("pause_p50", quantile(0.5))
	print("pause_p99", quantile(0.99))
	print("pause_max", quantile(1))
	fmt.Print("pause_curve=")
	for share := 1.0; share*float64(total) >= 0.5; share *= 0.7 {
		fmt.Printf("%.6g:%.4g,", quantile(1-share), share)
	}
	fmt.Println()
}

func usedMs() float64 {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e6
}

const paceRecords = 256

// keepPace sleeps while replaced records are early at rate MiB a second.
func keepPace(start time.Time, replaced, rate int) {
	if rate == 0 || replaced%paceRecords != 0 {
		return
	}
	due := float64(replaced*3*64) / float64(rate) / 1048576 * 1e3
	if early := due - msSince(start); early > 0 {
		time.Sleep(time.Duration(early * 1e6))
	}
}

func liveWork() {
	n := arg("mib", 64) * 1048576 / (3 * 64)
	replaced := n * arg("percent", 200) / 100
	seed, wrong := uint64(1), uint64(0)
	records := make([]*record, n)
	for i := range records {
		records[i] = newRecord(uint64(i))
	}
	before := readPauses()
	used, rate := usedMs(), arg("rate", 0)
	start := time.Now()
	for i := 0; i < replaced; i++ {
		keepPace(start, i, rate)
		at := uint64(random(&seed)) % uint64(n)
		r := records[at]
		if r.number+r.first.number-r.second.number != at {
			wrong++
		}
		records[at] = newRecord(at)
	}
	ms := msSince(start)
	print("kops_s", float64(replaced)/ms)
	print("cpu_percent", (usedMs()-used)*100/ms)
	printPauses(before, readPauses())
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	print("peak_mib", float64(use.Maxrss)/1024)
	check(wrong)
}

const stackWords = 112

//go:noinline
func parkDeep(gate chan struct{}) uint64 {
	var frame [stackWords]uint64
	for i := range frame {
		frame[i] = uint64(i)
	}
	done.Done()
	<-gate
	return frame[count%stackWords]
}

var count int

func stacksWork() {
	n := arg("n", 10000)
	debug.SetGCPercent(-1)
	gate := make(chan struct{})
	done.Add(n)
	for i := 0; i < n; i++ {
		go parkDeep(gate)
	}
	done.Wait()
	time.Sleep(time.Millisecond)
	runtime.GC()
	start := time.Now()
	for i := 0; i < 5; i++ {
		runtime.GC()
	}
	print("ms", msSince(start)/5)
	check(uint64(n))
}
