package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// keep runs the keeper of a node: it makes what init needs of the machine, starts init, and takes all of it
// back when standard input closes, on SIGTERM, or when init ends.
func keep(file string) error {
	settings, err := readNodeSettings(file)
	if err != nil {
		return err
	}
	syscall.CloseOnExec(3) // the claim of our addresses, see claimBlock; nothing below us is to have it
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	_ = settings.removeCgroups() // those of a killed keeper that had our addresses; nobody else's have this name
	defer settings.cleanUp()
	for _, address := range settings.Addresses {
		if err := changeLoopback(netlink.AddrReplace, address); err != nil {
			return err
		}
	}
	for _, group := range settings.cgroups() {
		if err := os.MkdirAll(group, 0o755); err != nil {
			return err
		}
	}
	if err := forward(settings.APIService, settings.APIServer); err != nil {
		fmt.Fprintf(os.Stderr, "warning: Pods cannot reach the API server: %v\n", err)
	}

	command := exec.Command(filepath.Join(settings.Bin, "control-plane"), "node-init", file)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("cannot start the node's own namespaces: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case <-ctx.Done():
		_ = command.Process.Kill()
		<-ended // comes after the end of everything in its namespace (pid_namespaces(7))
		return nil
	case err := <-ended:
		return fmt.Errorf("the node has ended: %w", err)
	}
}

func readNodeSettings(file string) (*nodeSettings, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	settings := &nodeSettings{}
	return settings, json.Unmarshal(content, settings)
}

// cleanUp takes back what keep made. It is called when nothing of the node runs any more, so that a failure
// is only that the kernel has not noticed yet: links go a moment after their network namespace.
func (s *nodeSettings) cleanUp() {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := errors.Join(s.removeCgroups(), s.linksGone())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "warning: %v\n", err)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, address := range s.Addresses {
		if err := changeLoopback(netlink.AddrDel, address); err != nil {
			fmt.Fprintf(os.Stderr, "warning: %v\n", err)
		}
	}
}

// linksGone fails as long as an interface has the Pods' gateway address: the host's end of a Pod's link.
func (s *nodeSettings) linksGone() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, address := range addresses {
			if network, is := address.(*net.IPNet); is && network.IP.String() == s.Gateway {
				return fmt.Errorf("interface `%s` is still there", i.Name)
			}
		}
	}
	return nil
}

// changeLoopback adds an address to the loopback interface, or removes it.
func changeLoopback(change func(netlink.Link, *netlink.Addr) error, address string) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	parsed, err := netlink.ParseAddr(address + "/32")
	if err != nil {
		return err
	}
	if err := change(loopback, parsed); err != nil {
		return fmt.Errorf("cannot change address %s of the loopback interface: %w", address, err)
	}
	return nil
}

// forward passes connections on, as kube-proxy would from the Service `kubernetes` to the API server.
func forward(from, to string) error {
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer server.Close()
				go func() {
					_, _ = io.Copy(server, client)
					_ = server.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return nil
}
