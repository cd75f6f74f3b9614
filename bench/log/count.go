// SPDX-License-Identifier: MIT
// The log job as a loop in one process.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
)

// fields gives the path and the time of a line.
func fields(line []byte) (path []byte, ms int, ok bool) {
	quote := bytes.IndexByte(line, '"')
	if quote < 0 {
		return nil, 0, false
	}
	request := line[quote+1:]
	blank := bytes.IndexByte(request, ' ')
	if blank < 0 {
		return nil, 0, false
	}
	request = request[blank+1:]
	end := bytes.IndexByte(request, ' ')
	last := bytes.LastIndexByte(line, ' ')
	if end < 0 || last < 0 {
		return nil, 0, false
	}
	ms, err := strconv.Atoi(string(line[last+1:]))
	return request[:end], ms, err == nil
}

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	by, bad := map[string][]int{}, 0
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 1<<16), 1<<20)
	for lines.Scan() {
		path, ms, ok := fields(lines.Bytes())
		if !ok {
			bad++
			continue
		}
		by[string(path)] = append(by[string(path)], ms)
	}
	paths := make([]string, 0, len(by))
	for path := range by {
		sort.Ints(by[path])
		paths = append(paths, path)
	}
	sort.Slice(paths, func(a, b int) bool {
		m, n := len(by[paths[a]]), len(by[paths[b]])
		return m > n || m == n && paths[a] < paths[b]
	})
	for _, path := range paths[:10] {
		times := by[path]
		fmt.Println(len(times), times[int(math.Ceil(0.99*float64(len(times))))-1], path)
	}
	fmt.Println("bad", bad)
}
