import { NODE_IMAGE } from '../../dev/envtest/cluster/images.ts';

/** Reads the token file for each call, as workloads should. */
const CALLER = `
const { readFileSync } = require('node:fs');
const names = process.env.NAMES.split(' ');
async function call(name) {
  let token = '';
  try { token = readFileSync('/var/run/convercus/' + name + '/token', 'utf8'); } catch {}
  const headers = { authorization: 'Bearer ' + token };
  await fetch(process.env.API + '/' + process.env.WORKLOAD, { headers }).then((response) => response.text(), () => {});
}
(async () => {
  for (;;) {
    for (const name of names) {
      await call(name);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
})();
`;

export const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' };

export interface Workload {
  readonly name: string;
  readonly namespace: string;
  readonly api: string;
  /** Credentials whose tokens are used in turn. */
  readonly credentials: readonly string[];
}

/** A restricted pod that mounts token files and calls the API in a loop, about 20 times a second. */
export const workloadPod = ({ name, namespace, api, credentials }: Workload) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace },
  spec: {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 1,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: 'caller',
        image: NODE_IMAGE,
        imagePullPolicy: 'Never',
        args: ['--eval', CALLER],
        env: [
          { name: 'API', value: api },
          { name: 'WORKLOAD', value: name },
          { name: 'NAMES', value: credentials.join(' ') },
        ],
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [{ name: 'tokens', mountPath: '/var/run/convercus', readOnly: true }],
      },
    ],
    volumes: [
      {
        name: 'tokens',
        projected: {
          sources: credentials.map((credential) => ({
            secret: {
              name: `${credential}-token`,
              items: [{ key: 'token', path: `${credential}/token` }],
            },
          })),
        },
      },
    ],
  },
});
