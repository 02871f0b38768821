import type { Values } from './render.ts';

const RESTRICTED = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };

/** Typical installations of the chart; each is linted, rendered, and applied to a real API server. */
export const VALUE_SETS: Readonly<Record<string, Values>> = {
  'the defaults': {},
  'one replica of a priority class': {
    replicaCount: 1,
    priorityClassName: 'platform',
    resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1Gi' } },
  },
  'cluster credentials': {
    clusterCredentials: { enabled: true, namespace: 'elsewhere' },
    crds: { annotations: { 'argocd.argoproj.io/sync-options': 'ServerSideApply=true' } },
    admissionPolicies: { authors: { validationActions: ['Warn', 'Audit'] } },
  },
  'listed namespaces': { watch: { namespaces: ['shop', 'warehouse'] } },
  'one of several releases, by selector': {
    fullnameOverride: 'convercus-team-shop',
    watch: { selector: 'team=shop' },
    crds: { enabled: false },
    rbac: { aggregateClusterRoles: false },
  },
  'a Prometheus operator and Grafana': {
    serviceMonitor: {
      enabled: true,
      additionalLabels: { release: 'prometheus' },
      relabelings: [{ action: 'labeldrop', regex: 'pod' }],
    },
    prometheusRule: {
      enabled: true,
      runbookBaseUrl: 'https://runbooks.example.com/convercus/',
      disabled: ['ConvercusQueueStuck'],
    },
    grafanaDashboard: { enabled: true, annotations: { grafana_folder: 'Convercus' } },
  },
  'scraping without the Service': {
    podMonitor: {
      enabled: true,
      interval: '1m',
      metricRelabelings: [{ action: 'labeldrop', regex: 'x' }],
    },
  },
  'a locked-down network': {
    metrics: { perCredential: false },
    log: { audit: true },
    networkPolicy: {
      egress: { enabled: true },
      metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
      apiServerTo: [{ ipBlock: { cidr: '10.0.0.0/8' } }],
      extraEgress: [{ ports: [{ port: 3128 }] }],
    },
    extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy.example.com:3128' }],
  },
  'custom environments': {
    environments: {
      staging: { realm: '{program}-stage' },
      sandbox: {
        realm: '{program}-sandbox',
        tokenUrl: 'https://auth.example.com:8443/realms/{realm}/protocol/openid-connect/token',
        apiUrl: 'https://api.example.com',
        caFile: '/etc/ssl/example/ca.crt',
      },
      local: {
        realm: '{program}',
        tokenUrl: 'http://keycloak.test/realms/{realm}/protocol/openid-connect/token',
        apiUrl: 'http://keycloak.test',
        insecureHttp: true,
      },
    },
    volumes: [{ name: 'ca', configMap: { name: 'example-ca' } }],
    volumeMounts: [{ name: 'ca', mountPath: '/etc/ssl/example', readOnly: true }],
    networkPolicy: { egress: { enabled: true } },
  },
  'everything brought along': {
    image: { repository: 'registry.example.com/operator', digest: `sha256:${'a'.repeat(64)}` },
    imagePullSecrets: [{ name: 'registry' }],
    serviceAccount: { create: false, name: 'deployer' },
    rbac: { create: false },
    crds: { enabled: false },
    commonLabels: { team: 'platform' },
    networkPolicy: { enabled: false },
    metrics: { service: { port: 9090, annotations: { 'prometheus.io/scrape': 'true' } } },
  },
  'pods placed with care': {
    replicaCount: 3,
    podDisruptionBudget: { enabled: true, maxUnavailable: '34%' },
    podLabels: { tier: 'control' },
    hostUsers: false,
    podAnnotations: { 'example.com/note': 'x' },
    nodeSelector: { 'kubernetes.io/arch': 'arm64' },
    tolerations: [{ key: 'control', operator: 'Exists' }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'zone', operator: 'Exists' }] }],
        },
      },
    },
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector: {} },
    ],
    workers: 32,
    tokenHosts: { requestsPerSecond: 50, burst: 100, concurrency: 16 },
    renewal: { percent: 70 },
    log: { level: 'debug', format: 'text' },
  },
  'a part of an umbrella chart': {
    enabled: true,
    global: {
      imageRegistry: 'registry.example.com',
      imagePullSecrets: ['registry', { name: 'mirror' }],
      storageClass: 'of another chart',
    },
    image: { repository: 'platform/convercus-operator' },
    commonLabels: { 'app.kubernetes.io/part-of': 'platform' },
    commonAnnotations: { 'example.com/owner': 'platform' },
  },
  'a mirror with a path, and pull Secrets of its own': {
    image: {
      registry: 'mirror.example.com:5000/docker/',
      repository: 'convercus-operator',
      tag: '0.1.0-fips',
      pullPolicy: 'Always',
    },
    imagePullSecrets: [{ name: 'mirror' }],
  },
  'a restricted network with a proxy that intercepts TLS': {
    caBundle: { configMapName: 'company-ca', key: 'bundle.pem' },
    extraEnv: [
      { name: 'HTTPS_PROXY', value: 'http://proxy.example.com:3128' },
      { name: 'NO_PROXY', value: '10.0.0.0/8,.svc' },
    ],
    hostAliases: [{ ip: '192.0.2.1', hostnames: ['auth.example.com'] }],
    dnsPolicy: 'None',
    dnsConfig: { nameservers: ['192.0.2.53'], options: [{ name: 'ndots', value: '1' }] },
    networkPolicy: { egress: { enabled: true }, extraEgress: [{ ports: [{ port: 3128 }] }] },
  },
  'OpenShift with users that it assigns': {
    podSecurityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    networkPolicy: {
      egress: { enabled: true },
      dnsPorts: [53, 5353],
      metricsFrom: [
        {
          namespaceSelector: {
            matchLabels: { 'kubernetes.io/metadata.name': 'openshift-monitoring' },
          },
        },
      ],
    },
    serviceMonitor: { enabled: true },
    rbac: { aggregateClusterRoles: false },
  },
  'waves of Argo CD': {
    crds: {
      annotations: {
        'argocd.argoproj.io/sync-options': 'ServerSideApply=true',
        'argocd.argoproj.io/sync-wave': '-1',
      },
    },
    deploymentAnnotations: { 'argocd.argoproj.io/sync-wave': '1' },
    commonAnnotations: { 'argocd.argoproj.io/sync-wave': '0' },
    revisionHistoryLimit: 0,
  },
  'monitoring in a namespace of its own': {
    serviceMonitor: { enabled: true, namespace: 'elsewhere' },
    prometheusRule: { enabled: true, namespace: 'elsewhere' },
    grafanaDashboard: { enabled: true, namespace: 'elsewhere', extraLabels: { team: 'platform' } },
  },
  'another namespace than that of the release': {
    namespaceOverride: 'elsewhere',
    podMonitor: { enabled: true },
    watch: { namespaces: ['shop'] },
  },
  'two address families': {
    metrics: {
      service: {
        labels: { 'example.com/scrape': 'metrics' },
        ipFamilyPolicy: 'PreferDualStack',
      },
    },
    serviceAccount: { labels: { 'example.com/audit': 'full' } },
  },
  'sandboxed pods with a sidecar': {
    runtimeClassName: 'gvisor',
    schedulerName: 'bin-packing',
    initContainers: [
      { name: 'wait', image: 'registry.example.com/wait:1', securityContext: RESTRICTED },
    ],
    extraContainers: [
      {
        name: 'proxy',
        image: 'registry.example.com/proxy:1',
        securityContext: RESTRICTED,
        volumeMounts: [{ name: 'scratch', mountPath: '/tmp' }],
      },
    ],
    volumes: [{ name: 'scratch', emptyDir: {} }],
  },
  'the network of the node, and objects of the platform': {
    hostNetwork: true,
    networkPolicy: { enabled: false },
    extraObjects: [
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'headers', namespace: 'shop' },
        data: { authorization: 'Bearer {{access_token}}' },
      },
      'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-notes\n  namespace: {{ .Release.Namespace }}\n',
    ],
  },
};
