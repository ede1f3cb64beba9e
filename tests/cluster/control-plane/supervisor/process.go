package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one running component. It leads a process group of its own.
type process struct {
	name string
	log  string
	pid  int
	done chan struct{} // closed when the process has ended; `end` may be read from then on
	end  string
}

// launch is how a process is started.
type launch struct {
	name      string
	logs      string // folder of its log, `NAME.log`
	program   string
	arguments []string
	stdin     *os.File   // nil: empty
	inherited []*os.File // what else it gets, from file descriptor 3 on
	survives  bool       // whether it outlives us; if not, the kernel kills it when we end, however that is
	unwatched bool       // whether the caller waits for it (`done` is never closed then)
}

// start starts the process.
//
// The death signal of the kernel comes when the *thread* that started the process ends, so this must be called
// on the goroutine that Main has locked to its thread.
func (l launch) start() (*process, error) {
	path := filepath.Join(l.logs, l.name+".log")
	log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	command := exec.Command(l.program, l.arguments...)
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = l.inherited
	if l.stdin != nil {
		command.Stdin = l.stdin
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !l.survives {
		command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", l.name, err)
	}
	p := &process{name: l.name, log: path, pid: command.Process.Pid, done: make(chan struct{})}
	if l.unwatched {
		return p, command.Process.Release()
	}
	go func() {
		_ = command.Wait()
		p.end = command.ProcessState.String()
		close(p.done)
	}()
	return p, nil
}

// ended says whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends to the whole process group.
func (p *process) signal(signal syscall.Signal) {
	_ = syscall.Kill(-p.pid, signal)
}

// tail is the end of the log, and empty if there is none.
func (p *process) tail(lines int) string {
	bytes, _ := os.ReadFile(p.log)
	all := strings.Split(strings.TrimRight(string(bytes), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// lostPort says whether the process ended because another took its port between our choice and its start.
func (p *process) lostPort() bool {
	return p.ended() && strings.Contains(p.tail(60), "address already in use")
}

// stopAll asks all processes to end, and kills those that have not after `patience`.
func stopAll(patience time.Duration, processes ...*process) {
	for _, p := range processes {
		p.signal(syscall.SIGTERM)
	}
	deadline := time.After(patience)
	for _, p := range processes {
		select {
		case <-p.done:
		case <-deadline:
			for _, late := range processes {
				late.signal(syscall.SIGKILL)
			}
			<-p.done
		}
		p.signal(syscall.SIGKILL) // what it left in its group
	}
}
