// main.go - the Go peer: the same works, arguments and output as bench/work.h.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

var works = map[string]func(){}

func arg(key string, otherwise int) int {
	if word := argWord(key, ""); word != "" {
		n, err := strconv.Atoi(word)
		if err != nil {
			fail("bad value of " + key)
		}
		return n
	}
	return otherwise
}

func argWord(key, otherwise string) string {
	for _, a := range os.Args[2:] {
		if strings.HasPrefix(a, key+"=") {
			return a[len(key)+1:]
		}
	}
	return otherwise
}

func fail(what string) {
	fmt.Fprintln(os.Stderr, os.Args[1]+": "+what)
	os.Exit(1)
}

func print(name string, value float64) { fmt.Printf("%s=%.6g\n", name, value) }
func check(sum uint64)                 { fmt.Printf("check=%d\n", sum) }

func msSince(start time.Time) float64 {
	return float64(time.Since(start).Nanoseconds()) / 1e6
}

// rss is the resident bytes of this process.
func rss() float64 {
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		fail("no statm")
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	pages, _ := strconv.Atoi(strings.Fields(line)[1])
	return float64(pages * os.Getpagesize())
}

// random is work_random of work.h.
func random(state *uint64) uint32 {
	x := *state
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*state = x
	return uint32((x * 2685821657736338717) >> 32)
}

type samples []float64

func (s samples) quantile(q float64) float64 {
	i := int(q * float64(len(s)))
	if i >= len(s) {
		i = len(s) - 1
	}
	return s[i]
}

func (s samples) median() float64 {
	sort.Float64s(s)
	return s.quantile(0.5)
}

func (s samples) print(prefix string, unit float64) {
	if len(s) == 0 {
		return
	}
	sort.Float64s(s)
	print(prefix+"_p50", s.quantile(0.5)/unit)
	print(prefix+"_p99", s.quantile(0.99)/unit)
	print(prefix+"_max", s.quantile(1)/unit)
	fmt.Printf("%s_curve=", prefix)
	for share := 1.0; share*float64(len(s)) >= 0.5; share *= 0.7 {
		fmt.Printf("%.6g:%.4g,", s.quantile(1-share)/unit, share)
	}
	fmt.Println()
}

func main() {
	if len(os.Args) > 1 && works[os.Args[1]] != nil {
		runtime.GOMAXPROCS(arg("procs", 1))
		works[os.Args[1]]()
		return
	}
	fmt.Fprintf(os.Stderr, "usage: %s WORK [key=value ...]\n", os.Args[0])
	os.Exit(2)
}
