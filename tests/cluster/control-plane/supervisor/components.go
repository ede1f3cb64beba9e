package supervisor

// The flags of each component. Only what differs from production, or has no default, is here.

// apiServerNames are the names in the API server's certificate.
var apiServerNames = []string{
	"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
}

// auditPolicy has every change in the log, with the audit annotations of webhooks and without any body.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: None
  resources:
  - {group: "", resources: [events]}
  - {group: coordination.k8s.io, resources: [leases]}
  - {group: events.k8s.io, resources: [events]}
- level: Metadata
`

func (c *cluster) etcdArguments(port string) []string {
	return []string{
		"--data-dir", c.path("etcd"),
		"--listen-client-urls", "http://127.0.0.1:" + port,
		"--advertise-client-urls", "http://127.0.0.1:" + port,
		"--listen-peer-urls", "http://127.0.0.1:0", // one member has no peers
		"--log-level", "warn",
		"--unsafe-no-fsync", // nothing here outlives a power cut anyway
	}
}

func (c *cluster) apiServerArguments(etcd *component) func(port string) []string {
	return func(port string) []string {
		arguments := []string{
			"--advertise-address", "127.0.0.1",
			"--allow-privileged=true",
			"--audit-log-path", c.path("logs", "audit.log"),
			"--audit-policy-file", c.path("audit-policy.yaml"),
			"--authorization-mode", "Node,RBAC",
			"--bind-address", "127.0.0.1",
			"--client-ca-file", c.authority.path("ca.crt"),
			// It would taint every new Node until a kubelet says that it is ready; most of our Nodes have none.
			"--disable-admission-plugins", "TaintNodesByCondition",
			// The endpoint of a webhook's Service is then called directly, without kube-proxy.
			"--enable-aggregator-routing=true",
			"--endpoint-reconciler-type", "none",
			"--etcd-servers", "http://127.0.0.1:" + etcd.port,
			"--kubelet-client-certificate", c.authority.path("kube-apiserver-kubelet-client.crt"),
			"--kubelet-client-key", c.authority.path("kube-apiserver-kubelet-client.key"),
			"--kubelet-preferred-address-types", "InternalIP",
			"--secure-port", port,
			"--service-account-issuer", "https://kubernetes.default.svc",
			"--service-account-key-file", c.authority.path("service-account.pub"),
			"--service-account-signing-key-file", c.authority.path("service-account.key"),
			"--service-cluster-ip-range", c.block.services.String(),
			"--tls-cert-file", c.authority.path("kube-apiserver.crt"),
			"--tls-private-key-file", c.authority.path("kube-apiserver.key"),
		}
		if c.mutatingPolicies {
			arguments = append(arguments,
				"--feature-gates", "MutatingAdmissionPolicy=true",
				"--runtime-config", "admissionregistration.k8s.io/v1beta1=true",
			)
		}
		return arguments
	}
}

func (c *cluster) controllerManagerArguments(port string) []string {
	return []string{
		"--bind-address", "127.0.0.1",
		"--cluster-signing-cert-file", c.authority.path("ca.crt"),
		"--cluster-signing-key-file", c.authority.path("ca.key"),
		// Nodes without a kubelet never report; these two would taint them and delete their Pods.
		"--controllers", "*,-node-lifecycle-controller,-taint-eviction-controller",
		"--kube-api-burst", "1000", "--kube-api-qps", "500", // tests make hundreds of Pods at once
		"--kubeconfig", c.kubeconfig("kube-controller-manager"),
		"--leader-elect=false",
		"--root-ca-file", c.authority.path("ca.crt"),
		"--secure-port", port,
		"--service-account-private-key-file", c.authority.path("service-account.key"),
		"--use-service-account-credentials=true", // as in production: each controller creates Pods as itself
	}
}

func (c *cluster) schedulerArguments(port string) []string {
	return []string{
		"--bind-address", "127.0.0.1",
		"--kube-api-burst", "1000", "--kube-api-qps", "500",
		"--kubeconfig", c.kubeconfig("kube-scheduler"),
		"--leader-elect=false",
		"--secure-port", port,
	}
}
