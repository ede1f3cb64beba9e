package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// A real node is three layers of processes:
//
//	supervisor ── keeper ── init ──┬ containerd, kubelet
//	                               └ shims, Pods
//
// Init and all below it live in a PID namespace and a mount namespace of their own. When init dies, the kernel
// kills the rest and drops their mounts, network namespaces and links with them, whatever state they are in.
// What the kernel does not clean (control groups, addresses of the loopback interface) is the keeper's job: it
// ends when the supervisor does, even if that was killed. Should the keeper itself be killed, these stay until
// the next run that gets the same addresses.

// nodeName is the name of the one real Node.
const nodeName = "real"

// nodePatience is what the keeper may take to clean up.
const nodePatience = 20 * time.Second

// node is what the supervisor knows of its node.
type node struct {
	claim    *os.File // holds the block, see claimBlock
	lifeline *os.File // the keeper sees it close when the supervisor ends
	keeper   *process
}

// nodeSettings is what keeper and init are told, as a JSON file.
type nodeSettings struct {
	Bin          string   // folder of our programs
	Folder       string   // the node's folder
	Logs         string   // folder of the logs
	Cgroup       string   // name of the control group of all Pods, below the root of each hierarchy
	Gateway      string   // the host's end of every Pod's link
	Addresses    []string // addresses that the loopback interface gets
	APIServer    string   // HOST:PORT of the API server
	APIService   string   // HOST:PORT where Pods expect it
	KubeletFlags []string
}

// nodeFolders are the folders that the node sees in its usual places, by their name in the node's folder. So
// containerd, the kubelet and CSI drivers find what they expect, and nothing of it is the machine's own.
var nodeFolders = map[string]string{
	"run-containerd":     "/run/containerd",
	"var-lib-cni":        "/var/lib/cni",
	"var-lib-containerd": "/var/lib/containerd",
	"var-lib-kubelet":    "/var/lib/kubelet",
	"var-log":            "/var/log",
}

// nodeSysctls are settings of the kernel that kubelet and CNI plugins insist on, for the whole machine. They
// are shown files that have the value already, and the machine keeps its own. (Forwarding between Pods, the
// one that would be of use, is not worth changing the machine for.)
var nodeSysctls = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"net/ipv4/ip_forward":       "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// checkNode says what this machine lacks for a real node.
func checkNode() error {
	if os.Geteuid() != 0 {
		return errors.New("a real node needs root")
	}
	var missing []string
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "runc"} {
		if _, err := lookProgram(program); err != nil {
			missing = append(missing, "`"+program+"`")
		}
	}
	if _, err := cniPlugins(); err != nil {
		missing = append(missing, "the CNI plugins")
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("a real node needs %s\n\nhint: `apt-get install containerd runc containernetworking-plugins`",
		strings.Join(missing, ", "))
}

// cniPlugins is the folder of the CNI plugins: Debian's, or the usual one.
func cniPlugins() (string, error) {
	for _, folder := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(folder, "ptp")); err == nil {
			return folder, nil
		}
	}
	return "", fs.ErrNotExist
}

// prepareNode writes every file of the node and returns its settings.
func (c *cluster) prepareNode() (*nodeSettings, error) {
	folder := c.path("node")
	if err := os.MkdirAll(filepath.Join(folder, "networks"), 0o755); err != nil {
		return nil, err
	}
	for name := range nodeFolders {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	for name, value := range nodeSysctls {
		path := filepath.Join(folder, "sysctl", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(value+"\n"), 0o644)); err != nil {
			return nil, err
		}
	}
	plugins, err := cniPlugins()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	// Named after the block, so that whoever has the block next finds what a killed keeper left.
	cgroup := "portolan-" + strings.ReplaceAll(c.block.pods.Addr().String(), ".", "-")

	values := map[string]any{
		"Address":      c.block.node(),
		"FirstPod":     c.block.firstPod(),
		"Gateway":      c.block.gateway(),
		"LastPod":      c.block.lastPod(),
		"Subnet":       c.block.pods,
		"Cgroup":       cgroup,
		"ClientCA":     c.authority.path("ca.crt"),
		"Networks":     filepath.Join(folder, "networks"),
		"Plugins":      plugins,
		"Port":         ports[0],
		"Registries":   c.path("certs.d"),
		"SandboxImage": c.sandboxImage,
	}
	for name, text := range map[string]string{
		"containerd.toml":        containerdConfiguration,
		"kubelet.yaml":           kubeletConfiguration,
		"networks/pods.conflist": networkConfiguration,
	} {
		var content bytes.Buffer
		if err := template.Must(template.New(name).Parse(text)).Execute(&content, values); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(folder, name), content.Bytes(), 0o644); err != nil {
			return nil, err
		}
	}
	if err := writeKubeconfig(c.kubeconfig("kubelet"), c.server, c.authority, "kubelet"); err != nil {
		return nil, err
	}
	return &nodeSettings{
		Bin:        c.path("bin"),
		Folder:     folder,
		Logs:       c.path("logs"),
		Cgroup:     cgroup,
		Gateway:    c.block.gateway().String(),
		Addresses:  []string{c.block.node().String(), c.block.apiService().String()},
		APIServer:  strings.TrimPrefix(c.server, "https://"),
		APIService: c.block.apiService().String() + ":443",
		KubeletFlags: []string{
			"--config", filepath.Join(folder, "kubelet.yaml"),
			"--hostname-override", nodeName,
			"--kubeconfig", c.kubeconfig("kubelet"),
			"--node-ip", c.block.node().String(),
		},
	}, nil
}

// startNode starts the keeper, which starts the rest.
func (c *cluster) startNode() error {
	settings, err := c.prepareNode()
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return err
	}
	file := c.path("node", "settings.json")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return err
	}
	end, lifeline, err := os.Pipe()
	if err != nil {
		return err
	}
	defer end.Close()
	c.node.lifeline = lifeline
	c.node.keeper, err = launch{
		name:      "node",
		logs:      c.path("logs"),
		program:   c.path("bin", "control-plane"),
		arguments: []string{"node", file},
		stdin:     end,
		inherited: []*os.File{c.node.claim},
		survives:  true, // to clean up
	}.start()
	return err
}

// nodeReady fails unless the Node's condition `Ready` is true.
func nodeReady(admin *probe, server string) error {
	body, err := admin.get(server + "/api/v1/nodes/" + nodeName)
	if err != nil {
		return err
	}
	var found struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(body, &found); err != nil {
		return err
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		} else if condition.Type == "Ready" {
			return errors.New(condition.Message)
		}
	}
	return errors.New("it has not reported yet")
}

// nodePids are the processes that init started, by name, as this namespace numbers them.
func nodePids(keeper int) map[string]int {
	pids := make(map[string]int)
	for init := range children(keeper) {
		for pid, name := range children(init) {
			if name == "containerd" || name == "kubelet" {
				pids[name] = pid
			}
		}
	}
	return pids
}

// children returns the name of every child of a process, by its number.
func children(parent int) map[int]string {
	found := make(map[int]string)
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue // it has ended in the meantime
		}
		// proc(5): `PID (NAME) STATE PARENT …`, and a name may have parentheses of its own.
		_, after, _ := strings.Cut(string(stat), "(")
		end := strings.LastIndexByte(after, ')')
		if end < 0 {
			continue
		}
		if fields := strings.Fields(after[end+1:]); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			found[pid] = after[:end]
		}
	}
	return found
}
