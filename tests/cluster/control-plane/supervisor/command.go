// Package supervisor starts a control plane of Kubernetes (and a node, if asked), tells when it is ready, and
// ends it all when nobody needs it any more.
//
// It imports nothing of Kubernetes: components are processes, known by their flags and their HTTP servers.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

const usage = `usage: control-plane up --dir DIR [--node [--sandbox-image REF]] [--mutating-policies]

Starts etcd, kube-apiserver, kube-controller-manager and kube-scheduler on free ports of 127.0.0.1, with every
file under DIR; prints one line of JSON when all are ready; ends all of them when standard input closes, or on
SIGTERM or SIGINT.
`

// Main runs the command `control-plane` and returns its exit status: 0 when it was asked to end, 1 when a
// component failed, 2 when it cannot be done as asked.
func Main(arguments []string) int {
	// Children get a death signal when the thread that started them ends, see startProcess.
	runtime.LockOSThread()

	switch {
	case len(arguments) > 0 && arguments[0] == "up":
		return up(arguments[1:])
	case len(arguments) == 2 && arguments[0] == "node": // only the supervisor calls it
		return status(keep(arguments[1]))
	case len(arguments) == 2 && arguments[0] == "node-init": // only the keeper calls it
		return status(nodeInit(arguments[1]))
	}
	fmt.Fprint(os.Stderr, usage)
	return 2
}

// status prints the error, if there is one, and returns the exit status for it.
func status(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "error: %v\n", err)
	return 1
}

func up(arguments []string) int {
	flags := flag.NewFlagSet("control-plane up", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage, "\n")
		flags.PrintDefaults()
	}
	folder := flags.String("dir", "", "folder for all files of this run; is made, or must be empty")
	withNode := flags.Bool("node", false, "also start a real node: containerd and kubelet (needs root)")
	sandboxImage := flags.String("sandbox-image", "", "image of the sandbox of each Pod on the node, as containerd pulls it")
	mutatingPolicies := flags.Bool("mutating-policies", false, "turn on MutatingAdmissionPolicy, beta and off by default in 1.35")
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	if *folder == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	c, err := newCluster(*folder, *withNode, *sandboxImage, *mutatingPolicies)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 2
	}

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	err = c.start(ctx)
	if err == nil {
		var line []byte
		if line, err = json.Marshal(c.description()); err == nil {
			fmt.Printf("%s\n", line)
			err = c.watch(ctx)
		}
	}
	c.stop()
	if err == nil || errors.Is(err, context.Canceled) {
		return 0
	}
	if early := (*earlyEnd)(nil); errors.As(err, &early) {
		err = fmt.Errorf("%w\n\nthe end of `%s`:\n%s", err, early.process.log, early.process.tail(30))
	}
	return status(err)
}

// makeFolder makes the folder of a run with its subfolders. One that has anything in it already is refused.
func makeFolder(folder string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if entries, err := os.ReadDir(folder); err == nil && len(entries) > 0 {
		return "", fmt.Errorf("`%s` is not empty", folder)
	}
	for _, name := range []string{"bin", "certificates", "certs.d", "etcd", "logs"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return "", err
		}
	}
	return folder, nil
}
