package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
)

// programs are the binaries of a control plane; our one binary is all of them.
var programs = []string{
	"control-plane", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "token-server",
}

// assets are the binaries that envtest downloads, and that many users already have.
var assets = []string{"etcd", "kube-apiserver", "kubectl"}

// linkPrograms fills a folder with a symbolic link for every program: to those of `KUBEBUILDER_ASSETS` if it
// is set and complete, and to this very binary for the others.
func linkPrograms(folder string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return err
	}
	targets := make(map[string]string, len(programs))
	for _, name := range programs {
		targets[name] = self
	}
	if given := os.Getenv("KUBEBUILDER_ASSETS"); given != "" {
		if given, err = filepath.Abs(given); err != nil {
			return err
		}
		complete := true
		for _, name := range assets {
			if _, err := os.Stat(filepath.Join(given, name)); err != nil {
				fmt.Fprintf(os.Stderr, "warning: `KUBEBUILDER_ASSETS` is not used: %v\n", err)
				complete = false
				break
			}
		}
		for _, name := range assets {
			if complete {
				targets[name] = filepath.Join(given, name)
			}
		}
	}
	for name, target := range targets {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}
