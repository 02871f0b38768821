import { stringify } from 'yaml';

/** Addresses and configuration files of the node. */

export const NODE = 'node1';
export const NODE_ADDRESS = '10.99.0.1';
export const BRIDGE = 'node0';
export const POD_RANGE = '10.244.0.0/16';
/** The first node is 1. */
export const addressesOf = (node: number): { address: string; pods: string } => ({
  address: `10.99.0.${node}`,
  pods: `10.244.${node - 1}.0/24`,
});
export const SERVICES = '10.96.0.0/16';
export const API_SERVICE_ADDRESS = '10.96.0.1';
export const PAUSE_IMAGE = 'localhost/pause:1';

/** Folders over which the cluster mounts an empty tmpfs. */
export const COVERED = ['/run', '/var/lib', '/var/log'];

export const containerdConfig = (dir: string): string => `
version = 2
root = "${dir}/containerd"
state = "${dir}/containerd-state"
[grpc]
  address = "${dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # Lowering a score needs a right that containers and sandboxes of CI often lack.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${dir}/cni"
`;

export const cniConfig = (node: string, pods: string): string =>
  JSON.stringify({
    cniVersion: '0.4.0',
    // Addresses in use are kept in a folder of this name, which all nodes see.
    name: `pods-${node}`,
    plugins: [
      {
        type: 'bridge',
        bridge: 'pods0',
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: pods }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });

export const kubeletConfig = (dir: string, cgroup: string, syncFrequency: string): string =>
  stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    containerRuntimeEndpoint: `unix://${dir}/containerd.sock`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    // A full disk must neither delete images (100 turns the collection off) nor evict pods: images can't be pulled
    // again, and kubelet counts the image of pod sandboxes as unused.
    imageGCHighThresholdPercent: 100,
    imageMaximumGCAge: '0s',
    evictionHard: {},
    enforceNodeAllocatable: [],
    podLogsDir: `${dir}/pod-logs`,
    syncFrequency,
    clusterDNS: [NODE_ADDRESS],
    clusterDomain: 'cluster.local',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
  });
