package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// cgroupRoot is where control groups are mounted on every Linux of today.
const cgroupRoot = "/sys/fs/cgroup"

// cgroups are the folders of the node's control group: one, or one in each hierarchy of version 1.
func (s *nodeSettings) cgroups() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{filepath.Join(cgroupRoot, s.Cgroup)}
	}
	var groups []string
	hierarchies, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	for _, file := range hierarchies {
		groups = append(groups, filepath.Join(filepath.Dir(file), s.Cgroup))
	}
	return groups
}

// removeCgroups removes the node's control group with all below it. The kernel refuses while a process is in.
func (s *nodeSettings) removeCgroups() error {
	var failed []error
	for _, group := range s.cgroups() {
		var folders []string
		_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		for _, folder := range slices.Backward(folders) { // children before parents
			if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}
