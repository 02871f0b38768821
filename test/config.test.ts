import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { stringify } from 'yaml';
import {
  environmentProblem,
  fromEnvironment,
  parseArguments,
  readVersion,
} from '../src/command-line.ts';
import { type Checks, type Config, configText, parseConfig } from '../src/config.ts';
import { BUILT_IN_ENVIRONMENTS } from '../src/oauth/environment.ts';
import { selfSigned } from './oauth/self-signed.ts';
import { runs } from './support/runs.ts';

const FILES: Readonly<Record<string, string>> = {
  '/ca.pem': selfSigned().cert,
  '/notes.txt': 'no certificate',
};

const checks: Checks = {
  readFile: (path) => {
    const text = FILES[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  },
};

const parse = (config: unknown): Config | string[] => parseConfig(stringify(config), checks);

function configOf(config: unknown): Config {
  const parsed = parse(config);
  if (Array.isArray(parsed)) throw new Error(parsed.join('\n'));
  return parsed;
}

const local = (more: object = {}) => ({
  environments: {
    local: {
      realm: '{program}-local',
      tokenUrl: 'https://id.test/realms/{realm}/token',
      apiUrl: 'https://api.test',
      ...more,
    },
  },
});

describe('the configuration file', () => {
  it('may be absent or empty: everything has a default', () => {
    const defaults = {
      environments: new Map(BUILT_IN_ENVIRONMENTS.map((each) => [each.name, each])),
      watch: { namespaces: [], selector: '' },
      workers: 16,
      leaderElection: {
        enabled: true,
        name: 'convercus-operator',
        namespace: 'default',
        lease: 15_000,
        renew: 10_000,
        retry: 2_000,
      },
      clusterCredentials: { enabled: false, namespace: '' },
      tokenHosts: {
        requestsPerSecond: 5,
        burst: 10,
        concurrency: 4,
        passwordLoginsPerSecond: 1,
        connectTimeout: 3_000,
        timeout: 10_000,
      },
      renewal: { percent: 80, jitterPercent: 5, minimum: 30_000 },
      operations: { host: '::', port: 8080 },
      metrics: { perCredential: true },
      log: { level: 'info', format: 'json', audit: false },
    };
    for (const text of [undefined, '', '{}', 'watch:\nlog:\n  # level: debug\n']) {
      expect(parseConfig(text, checks)).toEqual(defaults);
    }
  });

  it('keeps the rest of a built-in environment of which something is overridden', () => {
    const { environments } = configOf({ environments: { staging: { caFile: '/ca.pem' } } });
    const [staging, production] = BUILT_IN_ENVIRONMENTS;
    expect(environments.get('staging')).toEqual({ ...staging, caFile: '/ca.pem' });
    expect(environments.get('production')).toEqual(production);
  });

  it('adds an environment, whose login URL follows from its API', () => {
    const { environments } = configOf(local({ apiUrl: 'https://api.test/' }));
    expect(environments.get('local')).toEqual({
      name: 'local',
      realm: '{program}-local',
      tokenUrl: 'https://id.test/realms/{realm}/token',
      apiUrl: 'https://api.test',
      loginUrl: 'https://api.test/auth/login',
      insecureHttp: false,
      caFile: '',
    });
    expect([...environments.keys()].sort()).toEqual(['local', 'production', 'staging']);
  });

  it('puts the Lease where the configuration says, else where the operator runs', () => {
    const inShop = { ...checks, namespace: 'shop' };
    const namespaceOf = (text: string) => {
      const config = parseConfig(text, inShop);
      return Array.isArray(config) ? config : config.leaderElection.namespace;
    };
    expect(namespaceOf('leaderElection: {namespace: ""}')).toBe('shop');
    expect(namespaceOf('leaderElection: {namespace: other}')).toBe('other');
  });

  it('looks for cluster credentials where the configuration says, else where the operator runs', () => {
    const where = (namespace: string, operatorNamespace?: string) =>
      parseConfig(stringify({ clusterCredentials: { enabled: true, namespace } }), {
        ...checks,
        namespace: operatorNamespace,
      });
    const at = (namespace: string) => ({ clusterCredentials: { enabled: true, namespace } });
    expect(where('', 'shop')).toMatchObject(at('shop'));
    expect(where('other', 'shop')).toMatchObject(at('other'));
    expect(where('other')).toMatchObject(at('other'));
    expect(where('')).toEqual([
      'clusterCredentials.namespace: write the namespace of the credentials Secrets, or set POD_NAMESPACE',
    ]);
  });

  it('serves cluster credentials in the whole cluster alone, which is told with all other faults', () => {
    const problems = parse({
      workers: 0,
      watch: { namespaces: ['shop'] },
      clusterCredentials: { enabled: true },
    });
    expect(problems).toEqual([
      'workers: write a number from 1 to 1000',
      'clusterCredentials.namespace: write the namespace of the credentials Secrets, or set POD_NAMESPACE',
      'clusterCredentials.enabled: write false, or leave watch.namespaces empty',
    ]);
  });

  it('takes plain http only where it is allowed', () => {
    const plain = { apiUrl: 'http://127.0.0.1:8080' };
    expect(parse(local(plain))).toEqual([
      'environments.local.insecureHttp: write true to allow http:// URLs, or make them https://',
    ]);
    expect(configOf(local({ ...plain, insecureHttp: true })).environments.has('local')).toBe(true);
  });

  it.each([
    ['a relative URL', '/realms/{realm}'],
    ['another scheme', 'ftp://id.test/{realm}'],
    ['credentials', 'https://user:word@id.test/{realm}'],
    ['a query', 'https://id.test/token?realm={realm}'],
    ['an empty query', 'https://id.test/{realm}?'],
    ['a fragment', 'https://id.test/{realm}#here'],
    ['no realm', 'https://id.test/token'],
    ['the realm in the host', 'https://{realm}.test/token'],
    ['the realm in the user name', 'https://{realm}@id.test/{realm}'],
    ['another placeholder', 'https://id.test/{program}/{realm}'],
    ['white space', 'https://id.test/{realm} '],
  ])('refuses a token URL with %s', (_, tokenUrl) => {
    expect(parse(local({ tokenUrl }))).toEqual([
      'environments.local.tokenUrl: write an absolute URL without credentials, query or fragment and with {realm} in its path',
    ]);
  });

  it.each(['/missing.pem', '/notes.txt'])('refuses the file %s as additional trust', (caFile) => {
    expect(parse(local({ caFile }))).toEqual([
      'environments.local.caFile: write the path of a readable file with PEM certificates',
    ]);
  });

  it.each([
    ['leaderElection.renewSeconds', { leaderElection: { leaseSeconds: 10, renewSeconds: 10 } }],
    ['leaderElection.retrySeconds', { leaderElection: { renewSeconds: 6, retrySeconds: 5 } }],
    ['leaderElection.retrySeconds', { leaderElection: { renewSeconds: 3.6, retrySeconds: 3 } }],
    ['leaderElection.retrySeconds', { leaderElection: { renewSeconds: 1.8, retrySeconds: 1.5 } }],
    ['leaderElection.name', { leaderElection: { name: 'a..b' } }],
    ['leaderElection.name', { leaderElection: { name: 'a.-b' } }],
    ['leaderElection.name', { leaderElection: { name: 'a'.repeat(254) } }],
    ['renewal.minimumSeconds', { renewal: { minimumSeconds: 601 } }],
    ['renewal.jitterPercent', { renewal: { percent: 90, jitterPercent: 10 } }],
    ['renewal.percent', { renewal: { percent: 96, jitterPercent: 0 } }],
    ['renewal.percent', { renewal: { percent: 9 } }],
    ['renewal.jitterPercent', { renewal: { percent: 50, jitterPercent: 21 } }],
    ['workers', { workers: 0 }],
    ['workers', { workers: 2.5 }],
    ['operations.port', { operations: { port: 65_536 } }],
    ['operations.probePort', { operations: { probePort: -1 } }],
    ['metrics.perCredential', { metrics: { perCredential: 'no' } }],
    ['log.level', { log: { level: 'verbose' } }],
    ['watch.namespaces.1', { watch: { namespaces: ['shop', 'Shop'] } }],
    ['watch.namespaces', { watch: { namespaces: ['shop', 'other', 'shop', 'shop'] } }],
    ['watch.selector', { watch: { selector: 'team=shop,' } }],
    ['watch.selector', { watch: { selector: ['team=shop'] } }],
    ['environments.local.realm', local({ realm: 'fixed' })],
    ['environments.Local', { environments: { Local: local().environments.local } }],
    ['the file', ['a', 'list']],
  ])('names %s when it is wrong', (path, config) => {
    expect(parse(config)).toEqual([expect.stringMatching(new RegExp(`^${path}: write `))]);
  });

  it('says what is wrong with a label selector', () => {
    expect(parse({ watch: { selector: 'team in (shop', namespaces: ['a', 'a'] } })).toEqual([
      'watch.namespaces: write "a" only once',
      'watch.selector: write a label selector, such as team=shop: ) is expected at the end',
    ]);
  });

  it('refuses a retrySeconds of exactly renewSeconds / 1.2, whatever the fractions', () => {
    for (let n = 1; n <= 100; n += 1) {
      const times = { leaseSeconds: 400, renewSeconds: (n * 6) / 10, retrySeconds: n / 2 };
      expect([n, parse({ leaderElection: times })]).toEqual([
        n,
        ['leaderElection.retrySeconds: write less than renewSeconds / 1.2'],
      ]);
    }
  });

  it('accepts the values at the edge of what is allowed', () => {
    for (const name of ['a', 'a.b-c.1', 'a'.repeat(253)]) {
      expect(configOf({ leaderElection: { name } }).leaderElection.name).toBe(name);
    }
    expect(configOf({ renewal: { percent: 95, jitterPercent: 4 } }).renewal.percent).toBe(95);
    const { leaderElection } = configOf({
      leaderElection: { leaseSeconds: 11, renewSeconds: 10, retrySeconds: 8.3 },
    });
    expect(leaderElection).toMatchObject({ lease: 11_000, renew: 10_000, retry: 8_300 });
  });

  it('is told every problem at once, unknown keys with those that are known', () => {
    const problems = parse({
      worker: 3,
      workers: 'many',
      environments: { local: { realm: '{program}' } },
      leaderElection: { enabled: 'no', leaseSeconds: 5 },
      log: { levels: 'info' },
    });
    expect(problems).toEqual([
      expect.stringMatching(/^environments\.local\.tokenUrl: write an absolute URL/),
      expect.stringMatching(/^environments\.local\.apiUrl: write an absolute URL/),
      'workers: write a number from 1 to 1000',
      'leaderElection.enabled: write true or false',
      'leaderElection.renewSeconds: write less than leaseSeconds',
      'log: unknown key "levels"; known are: level, format, audit',
      expect.stringMatching(/^the file: unknown key "worker"; known are: environments, watch/),
    ]);
  });

  it('is told where the YAML is wrong', () => {
    const problems = parseConfig('workers: 1\nworkers: 2\n', checks);
    expect(problems).toEqual(['Map keys must be unique at line 2, column 1']);
  });

  it('never throws and says something of whatever it refuses', () => {
    const anything = fc.oneof(fc.string(), fc.jsonValue().map(stringify));
    fc.assert(
      fc.property(anything, (text) => {
        const parsed = parseConfig(text, checks);
        expect(Array.isArray(parsed) ? parsed.length : parsed.workers).toBeGreaterThan(0);
      }),
    );
  });
});

describe('the effective configuration', () => {
  const tenths = (from: number, to: number) =>
    fc.integer({ min: from * 10, max: to * 10 }).map((n) => n / 10);
  const anyConfig = fc.record(
    {
      environments: fc.constantFrom({}, local({ caFile: '/ca.pem' }).environments),
      watch: fc.constantFrom({}, { namespaces: ['a', 'b'], selector: 'team in (shop, other)' }),
      workers: fc.integer({ min: 1, max: 1_000 }),
      leaderElection: fc.record({
        enabled: fc.boolean(),
        namespace: fc.constantFrom('', 'operator'),
        leaseSeconds: fc.constant(3_600),
        renewSeconds: tenths(20, 3_599),
        retrySeconds: tenths(0.1, 15),
      }),
      tokenHosts: fc.record({ connectTimeoutSeconds: tenths(0.1, 300), burst: fc.constant(7) }),
      renewal: fc.record({ minimumSeconds: tenths(1, 600) }),
      operations: fc.record({ probePort: fc.constantFrom(undefined, 0, 8081) }),
      metrics: fc.record({ perCredential: fc.boolean() }),
    },
    { requiredKeys: [] },
  );

  it('is printed as a file that means the same', () => {
    fc.assert(
      fc.property(anyConfig, (written) => {
        const config = configOf(written);
        expect(parseConfig(configText(config), checks)).toEqual(config);
      }),
      { numRuns: runs(100) },
    );
  });

  it('names every key', () => {
    const text = configText(configOf({ environments: { staging: { caFile: '/ca.pem' } } }));
    const keys = text.split('\n').map((line) => /^ *(\w+):/.exec(line)?.[1]);
    const production = keys.indexOf('production');
    expect(text).toContain('caFile: /ca.pem');
    expect(keys.toSpliced(production, 7).filter((key) => key !== undefined)).toEqual(
      (
        'environments staging realm tokenUrl loginUrl apiUrl insecureHttp caFile ' +
        'watch namespaces selector workers clusterCredentials enabled namespace operations host port metrics perCredential log level format audit ' +
        'leaderElection enabled name namespace leaseSeconds renewSeconds retrySeconds ' +
        'tokenHosts requestsPerSecond burst concurrency passwordLoginsPerSecond connectTimeoutSeconds timeoutSeconds ' +
        'renewal percent jitterPercent minimumSeconds'
      ).split(' '),
    );
  });
});

describe('the command line', () => {
  it('tells variables, exit codes and addresses', () => {
    const { text } = { text: '', ...parseArguments(['--help']) };
    for (const word of ['POD_NAME ', 'POD_NAMESPACE', 'KUBECONFIG', 'HTTPS_PROXY', 'NO_PROXY'])
      expect(text).toContain(word);
    expect(text).toMatch(/Exit codes:\n {2}0 [^]* {2}1 [^]* {2}2 /);
    expect(text).toMatch(/\/metrics[^]*\/livez, \/readyz/);
    for (const line of text.split('\n')) expect(line.length).toBeLessThan(120);
  });

  it('names the files', () => {
    expect(parseArguments(['--check-config'])).toEqual({ checkConfig: true });
    expect(parseArguments([])).toEqual({});
    expect(parseArguments(['--config', 'a.yaml', '--kubeconfig=k'])).toEqual({
      config: 'a.yaml',
      kubeconfig: 'k',
    });
  });

  it('shows help and version', () => {
    expect(parseArguments(['--version'])).toEqual({ exit: 0, text: `${readVersion()}\n` });
    expect(parseArguments(['--help'])).toEqual({
      exit: 0,
      text: expect.stringMatching(/^Usage: convercus-operator [^]*--kubeconfig <file>/),
    });
  });

  it.each([[['--konfig', 'x']], [['--config']], [['more']]])('refuses %j', (argv) => {
    expect(parseArguments(argv)).toEqual({ exit: 2, text: expect.stringMatching(/^error: /) });
  });
});

describe('the environment', () => {
  const noFile = () => {
    throw new Error('ENOENT');
  };

  it('names the pod', () => {
    const variables = { POD_NAMESPACE: 'shop', POD_NAME: 'pod-1', HOSTNAME: 'node-1' };
    expect(fromEnvironment(variables, noFile)).toEqual({
      namespace: 'shop',
      identity: 'pod-1',
      proxy: { https: '', except: '' },
    });
  });

  it('has the namespace of the service account, else default', () => {
    expect(fromEnvironment({}, () => 'mounted\n').namespace).toBe('mounted');
    expect(fromEnvironment({}, noFile).namespace).toBeUndefined();
  });

  it('gives two replicas on one host different identities', () => {
    const [one, two] = [1, 2].map(() => fromEnvironment({ HOSTNAME: 'node-1' }, noFile).identity);
    expect(one).toMatch(/^node-1_/);
    expect(one).not.toBe(two);
  });

  it('may not switch off the verification of servers', () => {
    expect(environmentProblem({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })).toMatch(
      /^NODE_TLS_REJECT_UNAUTHORIZED=0 .*remove it.*caFile/,
    );
    expect(environmentProblem({ NODE_TLS_REJECT_UNAUTHORIZED: '1' })).toBeUndefined();
    expect(environmentProblem({})).toBeUndefined();
  });

  it('names the proxy in upper or lower case', () => {
    expect(fromEnvironment({ HTTPS_PROXY: 'http://p:1', no_proxy: '.svc' }, noFile).proxy).toEqual({
      https: 'http://p:1',
      except: '.svc',
    });
  });
});
