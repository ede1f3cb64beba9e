package supervisor

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// nodeInit is process 1 of a node's namespaces: it arranges the mounts, starts containerd and the kubelet, and
// reaps whatever is orphaned. It returns when one of the two has ended; that ends the node.
func nodeInit(file string) error {
	settings, err := readNodeSettings(file)
	if err != nil {
		return err
	}
	if err := settings.arrangeMounts(); err != nil {
		return err
	}
	containerd, err := lookProgram("containerd")
	if err != nil {
		return err
	}
	started := make(map[int]*process)
	begin := func(name, program string, arguments ...string) error {
		p, err := launch{name: name, logs: settings.Logs, program: program, arguments: arguments, unwatched: true}.start()
		if err == nil {
			started[p.pid] = p
		}
		return err
	}
	if err := begin("containerd", containerd, "--config", filepath.Join(settings.Folder, "containerd.toml")); err != nil {
		return err
	}
	// The kubelet does not wait for its runtime. If this never comes, the reaping below tells why.
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if connection, err := net.Dial("unix", "/run/containerd/containerd.sock"); err == nil {
			connection.Close()
			break
		}
		if ended, err := reap(started, syscall.WNOHANG); ended != nil || err != nil {
			return endOf(ended, err)
		}
	}
	if err := begin("kubelet", filepath.Join(settings.Bin, "kubelet"), settings.KubeletFlags...); err != nil {
		return err
	}
	for {
		if ended, err := reap(started, 0); ended != nil || err != nil {
			return endOf(ended, err)
		}
	}
}

// reap takes note of one ended process, and returns it if it is one of those that the node cannot do without.
func reap(started map[int]*process, options int) (*process, error) {
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, options, nil)
	if err == syscall.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot wait for processes: %w", err)
	}
	p := started[pid]
	if p != nil {
		p.end = fmt.Sprintf("exit status %d", status.ExitStatus())
		if status.Signaled() {
			p.end = "signal: " + status.Signal().String()
		}
	}
	return p, nil
}

func endOf(p *process, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s ended early: %s\n\nthe end of `%s`:\n%s", p.name, p.end, p.log, p.tail(20))
}

// arrangeMounts gives the node its own view of the machine. Nothing of it is seen outside, except that the
// folders over which it mounts are made if they are missing.
func (s *nodeSettings) arrangeMounts() error {
	// Mounts of the machine go on to appear here, ours do not appear there; and Pods may share theirs with ours
	// (mountPropagation: Bidirectional), for which the node's mounts must be shared among themselves.
	for _, propagation := range []uintptr{syscall.MS_SLAVE, syscall.MS_SHARED} {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|propagation, ""); err != nil {
			return fmt.Errorf("cannot make the node's mounts its own: %w", err)
		}
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
	if err := syscall.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return fmt.Errorf("cannot mount the node's /proc: %w", err)
	}
	for name, place := range nodeFolders {
		if err := os.MkdirAll(place, 0o755); err != nil {
			return err
		}
		if err := bind(filepath.Join(s.Folder, name), place); err != nil {
			return err
		}
	}
	for name := range nodeSysctls {
		place := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(place); err != nil {
			continue // not every kernel has every setting
		}
		if err := bind(filepath.Join(s.Folder, "sysctl", name), place); err != nil {
			return err
		}
	}
	return nil
}

func bind(source, place string) error {
	if err := syscall.Mount(source, place, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot show `%s` as `%s`: %w", source, place, err)
	}
	return nil
}

// lookProgram finds a program of the machine, also where a user's PATH may not lead.
func lookProgram(name string) (string, error) {
	for _, folder := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("`%s`: %w", name, fs.ErrNotExist)
}
