import type { Values } from './render.ts';

/** Ten typical installations of the chart; each is linted, rendered, and applied to a real API server. */
export const VALUE_SETS: Readonly<Record<string, Values>> = {
  'the defaults': {},
  'one replica of high priority': {
    replicaCount: 1,
    priorityClassName: 'system-cluster-critical',
    resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1Gi' } },
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
};
