package supervisor

import (
	"context"
	"errors"
	"os"
	"testing"
)

// fake is a cluster whose only program is a shell script.
func fake(t *testing.T, script string) *cluster {
	t.Helper()
	folder, err := makeFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{folder: folder}
	if err := os.WriteFile(c.path("bin", "fake"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// portOnly is all that the script is told.
func portOnly(port string) []string { return []string{port} }

func TestAComponentThatLostItsPortIsStartedOnAnother(t *testing.T) {
	c := fake(t, `cd "$(dirname "$0")"
echo "$1" >> ports
if [ "$(wc -l < ports)" -lt 3 ]; then
    echo "listen tcp 127.0.0.1:$1: bind: address already in use"
    exit 1
fi
touch ready
exec sleep 60
`)
	started, err := c.begin("fake", portOnly)
	if err != nil {
		t.Fatal(err)
	}
	err = c.await(context.Background(), started, func() error {
		_, err := os.Stat(c.path("bin", "ready"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if ports, _ := os.ReadFile(c.path("bin", "ports")); string(ports[len(ports)-len(started.port)-1:]) != started.port+"\n" {
		t.Errorf("the component says port %s, the process had %s", started.port, ports)
	}
}

func TestAComponentThatEndsForAnotherReasonIsTheError(t *testing.T) {
	c := fake(t, "echo no such flag\nexit 3\n")
	started, err := c.begin("fake", portOnly)
	if err != nil {
		t.Fatal(err)
	}
	err = c.await(context.Background(), started, func() error { return errors.New("never") })
	if early := (*earlyEnd)(nil); !errors.As(err, &early) {
		t.Fatalf("got %v", err)
	}
	if got := err.Error(); got != "fake ended early: exit status 3" {
		t.Error(got)
	}
	if got := started.tail(30); got != "no such flag" {
		t.Error(got)
	}
}
