package supervisor

// What the programs of a node read. Paths are as the node sees them, see nodeFolders.

const containerdConfiguration = `version = 2
# Snapshotters that this node does not use look for devices and say so at every start.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[plugins."io.containerd.grpc.v1.cri"]
  # A container may ask for a better score than ours. Where we may not give one, runc would fail.
  restrict_oom_score_adj = true
{{- if .SandboxImage }}
  sandbox_image = {{ printf "%q" .SandboxImage }}
{{- end }}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{{ .Plugins }}"
  conf_dir = "{{ .Networks }}"

# A registry at 127.0.0.1 or localhost is asked by plain http without more; others need a file of the test.
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{{ .Registries }}"
`

const networkConfiguration = `{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
      "type": "host-local",
      "ranges": [[{
        "subnet": "{{ .Subnet }}",
        "gateway": "{{ .Gateway }}",
        "rangeStart": "{{ .FirstPod }}",
        "rangeEnd": "{{ .LastPod }}"
      }]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`

const kubeletConfiguration = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {{ .Address }}
port: {{ .Port }}
healthzPort: 0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: {{ .ClientCA }}}
authorization: {mode: AlwaysAllow} # whoever has a certificate of this run's authority
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volume-plugins
maxPods: 55 # the network has 60 addresses

# The machine is not ours: take it as it is, and change nothing.
cgroupDriver: cgroupfs
cgroupRoot: /{{ .Cgroup }}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
oomScoreAdj: 0

# A test wants its Pod, however full the disk is.
evictionHard:
  imagefs.available: 0%
  imagefs.inodesFree: 0%
  memory.available: 0%
  nodefs.available: 0%
  nodefs.inodesFree: 0%
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
registryPullQPS: 0
serializeImagePulls: false
`
