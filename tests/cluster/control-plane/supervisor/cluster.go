package supervisor

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// cluster is one run: its folder, its authority and its components in the order in which they were started.
type cluster struct {
	folder     string
	authority  *authority
	block      block // for Services, and for a node
	components []*component
	server     string // URL of the API server, once it has a port
	node       *node  // nil: none was asked for

	sandboxImage string // what a Pod's sandbox on the node is made of; empty: containerd's own choice

	mutatingPolicies bool // whether the API server knows MutatingAdmissionPolicies, which are off by default
}

// component is a process of a cluster that listens on one port of 127.0.0.1.
type component struct {
	*process
	port      string
	arguments func(port string) []string
}

// Description is what a test needs to know of a cluster that is ready: the line on standard output.
type Description struct {
	AuditLog           string         `json:"auditLog"`
	Bin                string         `json:"bin"`
	ContainerdSocket   *string        `json:"containerdSocket"`
	Dir                string         `json:"dir"`
	Kubeconfig         string         `json:"kubeconfig"`
	Node               *string        `json:"node"`
	NodeRegistryConfig *string        `json:"nodeRegistryConfig"`
	Pids               map[string]int `json:"pids"`
	Server             string         `json:"server"`
}

const (
	// How long one component may take. A cold machine that also compiles is slow.
	startLimit = 90 * time.Second
	// How often a component may lose its port to somebody else.
	startAttempts = 5
	// What a component may take to end. Nothing here is worth more patience.
	stopPatience = 3 * time.Second
)

// newCluster makes folder, links and keys; nothing runs yet.
func newCluster(folder string, withNode bool, sandboxImage string, mutatingPolicies bool) (*cluster, error) {
	folder, err := makeFolder(folder)
	if err != nil {
		return nil, err
	}
	c := &cluster{folder: folder, block: newBlock(0), sandboxImage: sandboxImage, mutatingPolicies: mutatingPolicies}
	if withNode {
		if err := checkNode(); err != nil {
			return nil, err
		}
		c.node = &node{}
		if c.block, c.node.claim, err = claimBlock(); err != nil {
			return nil, err
		}
	}
	if err := linkPrograms(c.path("bin")); err != nil {
		return nil, err
	}
	if c.authority, err = newAuthority(c.path("certificates")); err != nil {
		return nil, err
	}
	return c, errors.Join(
		c.authority.server("kube-apiserver", apiServerNames, net.IPv4(127, 0, 0, 1), c.block.apiService().AsSlice()),
		c.authority.signingKey("service-account"),
		c.authority.client("admin", "admin", "system:masters"),
		c.authority.client("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
		c.authority.client("kube-controller-manager", "system:kube-controller-manager"),
		c.authority.client("kube-scheduler", "system:kube-scheduler"),
		c.authority.client("kubelet", "system:node:"+nodeName, "system:nodes"),
		os.WriteFile(c.path("audit-policy.yaml"), []byte(auditPolicy), 0o644),
	)
}

// start starts every component and returns when all are ready.
func (c *cluster) start(ctx context.Context) error {
	plain, err := newProbe(nil)
	if err != nil {
		return err
	}
	admin, err := newProbe(c.authority)
	if err != nil {
		return err
	}

	etcd, err := c.begin("etcd", c.etcdArguments)
	if err != nil {
		return err
	}
	if err := c.await(ctx, etcd, func() error {
		_, err := plain.get("http://127.0.0.1:" + etcd.port + "/health")
		return err
	}); err != nil {
		return err
	}

	apiServer, err := c.begin("kube-apiserver", c.apiServerArguments(etcd))
	if err != nil {
		return err
	}
	if err := c.await(ctx, apiServer, func() error {
		_, err := admin.get("https://127.0.0.1:" + apiServer.port + "/readyz")
		return err
	}); err != nil {
		return err
	}
	c.server = "https://127.0.0.1:" + apiServer.port
	for _, user := range []string{"admin", "kube-controller-manager", "kube-scheduler"} {
		if err := writeKubeconfig(c.kubeconfig(user), c.server, c.authority, user); err != nil {
			return err
		}
	}

	if c.node != nil {
		if err := c.startNode(); err != nil {
			return err
		}
	}
	controllerManager, err := c.begin("kube-controller-manager", c.controllerManagerArguments)
	if err != nil {
		return err
	}
	scheduler, err := c.begin("kube-scheduler", c.schedulerArguments)
	if err != nil {
		return err
	}
	if err := c.await(ctx, scheduler, func() error {
		_, err := plain.get("https://127.0.0.1:" + scheduler.port + "/readyz")
		return err
	}); err != nil {
		return err
	}
	// The controllers have begun to work when the first of their objects is there, which every Pod needs.
	if err := c.await(ctx, controllerManager, func() error {
		_, err := admin.get(c.server + "/api/v1/namespaces/default/serviceaccounts/default")
		return err
	}); err != nil || c.node == nil {
		return err
	}
	return eventually(ctx, "the node", startLimit, c.processes(), func() error { return nodeReady(admin, c.server) })
}

// begin starts a component on a free port and does not wait for it.
func (c *cluster) begin(name string, arguments func(port string) []string) (*component, error) {
	started := &component{arguments: arguments}
	if err := c.run(started, name); err != nil {
		return nil, err
	}
	c.components = append(c.components, started)
	return started, nil
}

// run gives the component a port and a process.
func (c *cluster) run(started *component, name string) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	started.port = ports[0]
	started.process, err = launch{
		name:      name,
		logs:      c.path("logs"),
		program:   c.path("bin", name),
		arguments: started.arguments(ports[0]),
	}.start()
	return err
}

// await returns when `ready` does not fail any more. A component that has lost its port is started again.
func (c *cluster) await(ctx context.Context, started *component, ready func() error) error {
	for attempt := 1; ; attempt++ {
		err := eventually(ctx, started.name, startLimit, c.processes(), ready)
		if early := (*earlyEnd)(nil); !errors.As(err, &early) || early.process != started.process ||
			attempt == startAttempts || !started.lostPort() {
			return err
		}
		if err := c.run(started, started.name); err != nil {
			return err
		}
	}
}

// watch returns when the context is done, or with an error when a component ends.
func (c *cluster) watch(ctx context.Context) error {
	ended := make(chan *process)
	for _, p := range c.processes() {
		go func() {
			<-p.done
			ended <- p
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case p := <-ended:
		return &earlyEnd{p}
	}
}

// stop ends everything, clients before their servers: none then waits for an answer that cannot come.
func (c *cluster) stop() {
	if c.node != nil && c.node.keeper != nil {
		stopAll(nodePatience, c.node.keeper)
	}
	var all []*process // etcd, kube-apiserver, and the clients of the latter
	for _, started := range c.components {
		all = append(all, started.process)
	}
	servers := min(2, len(all))
	stopAll(stopPatience, all[servers:]...)
	for _, p := range slices.Backward(all[:servers]) {
		stopAll(stopPatience, p)
	}
}

// description of a cluster that is ready.
func (c *cluster) description() Description {
	pids := make(map[string]int)
	for _, p := range c.processes() {
		pids[p.name] = p.pid
	}
	description := Description{
		AuditLog:   c.path("logs", "audit.log"),
		Bin:        c.path("bin"),
		Dir:        c.folder,
		Kubeconfig: c.kubeconfig("admin"),
		Pids:       pids,
		Server:     c.server,
	}
	if c.node != nil {
		maps.Copy(pids, nodePids(c.node.keeper.pid))
		name, registries := nodeName, c.path("certs.d")
		socket := c.path("node", "run-containerd", "containerd.sock")
		description.ContainerdSocket, description.Node, description.NodeRegistryConfig = &socket, &name, &registries
	}
	return description
}

// processes are all that must not end.
func (c *cluster) processes() []*process {
	var processes []*process
	for _, started := range c.components {
		processes = append(processes, started.process)
	}
	if c.node != nil && c.node.keeper != nil {
		processes = append(processes, c.node.keeper)
	}
	return processes
}

func (c *cluster) kubeconfig(user string) string {
	return c.path(user + ".kubeconfig")
}

// path of something in the folder of this run.
func (c *cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.folder}, elements...)...)
}
