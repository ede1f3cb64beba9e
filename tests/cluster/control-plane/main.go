// The control plane of Portolan's real-cluster tests: one program that is each of its binaries.
//
// The name that it is called by picks what it is, so that one link (and one file in the cache) serves all of
// them. The `build` script makes a symbolic link for every name.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"portolan/control-plane/supervisor"
	"portolan/control-plane/tokens"
)

func main() {
	programs := upstream()
	programs["control-plane"] = func() int { return supervisor.Main(os.Args[1:]) }
	programs["token-server"] = func() int { return tokens.Main(os.Args[1:]) }

	name := filepath.Base(os.Args[0])
	run, known := programs[name]
	if !known {
		var names []string
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "error: called as `%s`, which is none of: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(run())
}
