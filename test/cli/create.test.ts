import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { untilServed } from '../../dev/testbed/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoSecretIn, Person, personWith, testbedWithPeople } from './person.ts';

describe('kubectl convercus', () => {
  let testbed: Testbed;
  let tenant: Tenant;
  let editor: Person;
  let viewer: Person;

  beforeAll(async () => {
    testbed = await testbedWithPeople();
    tenant = await testbed.tenant();
    editor = personWith(testbed, 'editor', tenant.namespace);
    viewer = personWith(testbed, 'viewer', tenant.namespace);
  }, 600_000);

  afterAll(async () => {
    try {
      if (tenant !== undefined) await expectNoSecretIn(testbed, tenant);
    } finally {
      await testbed?.stop();
    }
  });

  it('prints YAML, and how to make the Secret', async () => {
    const { code, out, err } = await viewer.cli('create', 'loyalty', '--program', 'T1');
    expect(out).toBe(`apiVersion: convercus.io/v1alpha1
kind: ConvercusCredential
metadata:
  name: loyalty
  namespace: shop-1
spec:
  program: T1
  environment: staging
  credentialsSecretRef:
    name: convercus-t1
`);
    expect(err).toBe(
      'It needs Secret "convercus-t1": read -rs S && printf %s "$S" | kubectl create secret generic convercus-t1 -n shop-1 --from-file=client_secret=/dev/stdin\n',
    );
    expect(code).toBe(0);
  });

  it('asks on a terminal, and reads the secret there', async () => {
    const person = editor.with({ types: ['T1', '', '', 'asked', tenant.clientSecret] });
    const { code, out, err } = await person.cli('create', '--apply');
    expect(err).toBe(
      'Program, such as ABC: Environment [staging]: Grant: client_credentials, password or legacy_login [client_credentials]: Name of the credential [t1-staging]: Client secret (is not shown): ',
    );
    expect([code, out]).toEqual([
      0,
      'Secret convercus-t1 created\nConvercusCredential asked created; see it: kubectl convercus status asked -n shop-1 --watch\n',
    ]);
    await tenant.ready('asked');
  });

  it('reads a client secret from standard input, and uses a Secret that exists', async () => {
    const args = ['create', 'piped', '--program', 'T1', '--secret', 'piped', '--apply'];
    const { code, out } = await editor.with({ input: `${tenant.clientSecret}\n` }).cli(...args);
    expect([code, out]).toEqual([0, expect.stringContaining('Secret piped created')]);
    await tenant.ready('piped');
    const second = ['create', 'second', '--program', 'T1', '--secret', 'piped', '--apply'];
    expect((await editor.cli(...second)).out).toContain('Secret piped exists and is used as it is');
  });

  it.each([
    [['create', 'x'], 2, 'There is no terminal to ask on; give --program'],
    [['create', 'x', '--program', 'T1', '--grant', 'implicit'], 2, 'There is no grant "implicit"'],
    [
      ['create', 'x', '--program', 'T1', '--secret', 'new', '--apply'],
      2,
      'The client secret is empty; nothing was created',
    ],
    [
      ['create', 'x', '--program', 'T1', '--grant', 'password', '--secret', 'new', '--apply'],
      2,
      'create the Secret first and name it with --secret',
    ],
    [['create', 'x', '--program', 'T 1', '--secret', 'never', '--apply'], 3, 'spec.program'],
  ])('refuses %j', async (args, exitCode, sentence) => {
    const { code, err } = await editor.cli(...args);
    expect([code, err]).toEqual([exitCode, expect.stringContaining(sentence)]);
  });

  it('makes no Secret for a credential that is refused', async () => {
    const names = await tenant.kubectl('get', 'secrets', '-o', 'name');
    expect(names).not.toMatch(/never|new/);
  });

  it('tells a viewer that the right to create is missing', async () => {
    const { code, err } = await viewer.cli('create', 'x', '--program', 'T1', '--apply');
    expect([code, err]).toEqual([
      3,
      expect.stringContaining(
        'You may not create convercuscredentials.convercus.io in namespace "shop-1"',
      ),
    ]);
  });

  it('tells what replaces a CronJob, and in which order', async () => {
    const script = `TOKEN=$(curl -s -d grant_type=client_credentials -d client_id=machine-2-machine -d client_secret=$CLIENT_SECRET -d scope=openid \\
      https://auth-staging.convercus.io/realms/abc-staging/protocol/openid-connect/token | jq -r .access_token)
    kubectl create secret generic loyalty-token --from-literal=bearer=$TOKEN --dry-run=client -o yaml | kubectl apply -f -`;
    const secretKeyRef = { name: 'abc', key: 'secret' };
    const env = [{ name: 'CLIENT_SECRET', valueFrom: { secretKeyRef } }];
    const containers = [{ name: 'job', image: 'curl', command: ['sh', '-c', script], env }];
    const template = { spec: { containers, restartPolicy: 'Never' } };
    const volumes = [{ name: 'token', secret: { secretName: 'loyalty-token' } }];
    const app = {
      name: 'app',
      image: 'app',
      volumeMounts: [{ name: 'token', mountPath: '/token' }],
    };
    await tenant.apply(
      {
        apiVersion: 'batch/v1',
        kind: 'CronJob',
        metadata: { name: 'get-token' },
        spec: { schedule: '*/15 * * * *', jobTemplate: { spec: { template } } },
      },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'shop' },
        spec: { volumes, containers: [app] },
      },
    );
    const { code, out } = await viewer.cli('migrate', 'cronjob', 'get-token');
    expect(out.split('\n').filter((line) => line.startsWith('#'))).toEqual([
      '# 1. Apply this; the old one goes on.',
      '# 2. Wait: kubectl wait --for=condition=Ready convercuscredential/get-token -n shop-1 --timeout=90s',
      '# 3. Change Secret loyalty-token to loyalty-token-renewed in pod/shop; as a volume without subPath, so that a new token arrives.',
      '# 4. When no pod uses loyalty-token any more: kubectl delete cronjob get-token -n shop-1; kubectl delete secret loyalty-token -n shop-1',
    ]);
    expect(parse(out).spec).toEqual({
      program: 'ABC',
      environment: 'staging',
      scope: 'openid',
      credentialsSecretRef: { name: 'abc', keys: { clientSecret: 'secret' } },
      target: { name: 'loyalty-token-renewed', data: { bearer: '{{access_token}}' } },
    });
    expect(code).toBe(0);
    await testbed.controlPlane.kubectl(['apply', '--dry-run=server', '-f', '-'], { input: out });
  });

  it('prints no secret of a CronJob that has it in clear text', async () => {
    const script = 'curl -d client_id=x -d client_secret=CaNaRy-in-clear-text https://elsewhere';
    const containers = [{ name: 'job', image: 'curl', command: ['sh', '-c', script] }];
    const template = { spec: { containers, restartPolicy: 'Never' } };
    await tenant.apply({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'clear' },
      spec: { schedule: '*/15 * * * *', jobTemplate: { spec: { template } } },
    });
    const { out } = await viewer.cli('migrate', 'cronjob', 'clear');
    expect(out).toContain('The client secret stands in clear text there');
    expect(out).toContain('Replace each FILL-IN');
    expect(out).not.toContain('CaNaRy');
  });

  it('tells what replaces an ExternalSecret with a Webhook', async () => {
    await tenant.apply(crd('externalsecrets', 'ExternalSecret', 'external-secrets.io', 'v1'));
    await tenant.apply(crd('webhooks', 'Webhook', 'generators.external-secrets.io', 'v1alpha1'));
    await untilServed(testbed.controlPlane, 'externalsecrets');
    await untilServed(testbed.controlPlane, 'webhooks');
    await tenant.apply(
      {
        apiVersion: 'generators.external-secrets.io/v1alpha1',
        kind: 'Webhook',
        metadata: { name: 'token' },
        spec: {
          url: 'https://auth.convercus.io/realms/abc/protocol/openid-connect/token',
          body: 'grant_type=client_credentials&client_id=partner&client_secret={{ .abc.secret }}',
          secrets: [{ name: 'abc', secretRef: { name: 'abc' } }],
        },
      },
      {
        apiVersion: 'external-secrets.io/v1',
        kind: 'ExternalSecret',
        metadata: { name: 'loyalty-eso' },
        spec: {
          refreshInterval: '15m',
          target: { name: 'loyalty' },
          dataFrom: [{ sourceRef: { generatorRef: { kind: 'Webhook', name: 'token' } } }],
        },
      },
    );
    const { code, out, err } = await personWith(testbed, 'admin', tenant.namespace).cli(
      'migrate',
      'external-secret',
      'loyalty-eso',
    );
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('kubectl delete externalsecret loyalty-eso -n shop-1');
    expect(parse(out).spec).toEqual({
      program: 'ABC',
      environment: 'production',
      clientId: 'partner',
      credentialsSecretRef: { name: 'abc' },
      target: { name: 'loyalty-renewed', data: { access_token: '{{access_token}}' } },
    });
    expect((await viewer.cli('migrate', 'helm', 'x')).code).toBe(2);
  });

  const crd = (plural: string, kind: string, group: string, version: string) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, kind, singular: kind.toLowerCase() },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      ],
    },
  });

  it('completes commands, options and what can be written there', async () => {
    const flags = ['--kubeconfig', testbed.controlPlane.userKubeconfig('viewer'), '-n', 'shop-1'];
    const complete = async (...words: string[]) =>
      (await new Person({}).cli('__complete', ...words)).out.split('\n').slice(0, -1);
    expect(await complete('re')).toEqual(['renew', 'resume', 'report', ':4']);
    expect(await complete('list', '--not')).toEqual(['--not-ready', ':4']);
    expect(await complete('doctor', '--from', '')).toEqual(['here', 'operator', ':4']);
    expect(await complete('migrate', 'e')).toEqual(['external-secret', ':4']);
    expect(await complete('status', ...flags, 'pi')).toEqual(['piped', ':4']);
    expect(await complete('list', ...flags.slice(0, 2), '-n', 'shop')).toEqual(['shop-1', ':4']);
    expect(await complete('status', '--kubeconfig', '/nowhere', '')).toEqual([':4']);
    const { out } = await new Person({}).cli('completion', 'kubectl');
    expect(out).toContain('exec kubectl convercus __complete "$@"');
    for (const shell of ['bash', 'zsh', 'fish']) {
      expect((await new Person({}).cli('completion', shell)).out).toContain('__complete');
    }
    expect((await new Person({}).cli('completion', 'tcsh')).code).toBe(2);
  });
});
