import { type FaultEffect, proxies } from '../keycloak/dialect/faults.ts';
import { OPERATOR_NAMESPACE } from '../testbed/operator.ts';
import type { Tenant } from '../testbed/tenant.ts';
import type { Testbed } from '../testbed/testbed.ts';

/** What goes wrong: for a credential `loyalty` in a namespace and a realm of its own. */
export interface Failure {
  readonly title: string;
  /** What happened, for the reader of the page. */
  readonly story: string;
  /** The reason in the condition `Renewed`, and the one in `Ready` when the picture is taken. */
  readonly reason: string;
  readonly ready: string;
  /** Settings of the realm. */
  readonly realm?: Readonly<Record<string, unknown>>;
  /** Brings it about. */
  readonly make: (tenant: Tenant, testbed: Testbed) => Promise<void>;
}

/** In this order: the last one takes permissions away. */
export const FAILURES: readonly Failure[] = [
  {
    title: 'The credentials Secret does not exist',
    story: 'A ConvercusCredential was created before its Secret.',
    reason: 'InputMissing',
    ready: 'InputMissing',
    make: (tenant) =>
      tenant.credential('loyalty', { credentialsSecretRef: { name: 'convercus-loyalty' } }),
  },
  {
    title: 'The client secret is wrong',
    story: 'The credentials Secret holds the client secret of another environment.',
    reason: 'ClientSecretRejected',
    ready: 'ClientSecretRejected',
    make: async (tenant) => {
      await tenant.secret('source', { client_secret: 'that-of-production' });
      await tenant.credential('loyalty');
    },
  },
  {
    title: 'The password is wrong',
    story: 'Grant `password`; the password in the credentials Secret is not that of the user.',
    reason: 'CredentialsRejected',
    ready: 'CredentialsRejected',
    make: async (tenant) => {
      const user = { username: 'api-user', password: 'mistyped' };
      await tenant.secret('source', { ...user, client_secret: tenant.clientSecret });
      await tenant.credential('loyalty', { grantType: 'password' });
    },
  },
  {
    title: 'The realm does not exist',
    story: '`spec.program` has a typing error.',
    reason: 'RealmNotFound',
    ready: 'RealmNotFound',
    make: (tenant) => tenant.credential('loyalty', { program: 'LOYALTI' }),
  },
  {
    title: 'The scope is refused',
    story: '`spec.scope` names a scope that the client does not have.',
    reason: 'InvalidScope',
    ready: 'InvalidScope',
    make: (tenant) => tenant.credential('loyalty', { scope: 'loyalty-admin' }),
  },
  {
    title: 'The target Secret belongs to something else',
    story: 'A Secret with the name of the target was there before.',
    reason: 'TargetNotOurs',
    ready: 'TargetNotOurs',
    make: async (tenant) => {
      await tenant.secret('loyalty-token', { token: 'of a CronJob' });
      await tenant.credential('loyalty');
    },
  },
  {
    title: 'The identity provider is down, the token is valid',
    story: 'A renewal is due, and a gateway answers 502.',
    reason: 'ServerUnavailable',
    ready: 'TokenValid',
    make: async (tenant, testbed) => {
      await renewWith(tenant, testbed, proxies.badGateway);
    },
  },
  {
    title: 'The identity provider is down, the token has expired',
    story: 'The same for longer than the token lives.',
    reason: 'ServerUnavailable',
    ready: 'TokenExpired',
    realm: { accessTokenLifespan: 20 },
    make: async (tenant, testbed) => {
      await renewWith(tenant, testbed, proxies.badGateway);
    },
  },
  {
    title: 'The identity provider is rate limiting',
    story: 'A renewal is due, and the answer is 429 with `Retry-After: 300`.',
    reason: 'RateLimited',
    ready: 'TokenValid',
    make: async (tenant, testbed) => {
      await renewWith(tenant, testbed, proxies.tooManyRequests('300'));
    },
  },
  {
    title: 'The operator may not write Secrets',
    story: 'Its ClusterRole was narrowed: the operator may read Secrets, and not write them.',
    reason: 'PermissionDenied',
    ready: 'PermissionDenied',
    make: async (tenant, testbed) => {
      await forbidWrites(testbed);
      await tenant.credential('loyalty');
    },
  },
];

/** A token is issued, then each token request of this realm is answered like this. */
export async function renewWith(
  tenant: Tenant,
  testbed: Testbed,
  effect: FaultEffect,
): Promise<void> {
  await tenant.credential('loyalty');
  await tenant.ready('loyalty');
  testbed.provider.faults.add({ realm: tenant.realm, ...effect });
  const now = Math.floor(Date.now() / 1_000);
  const wish = `convercus.io/renew-requested-at=${now}`;
  await tenant.kubectl('annotate', 'convercuscredential', 'loyalty', wish);
}

interface Rule {
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

async function forbidWrites({ controlPlane }: Testbed): Promise<void> {
  const name = OPERATOR_NAMESPACE;
  const args = ['get', 'clusterrole', name, '-o', 'json'];
  const role: { readonly rules: readonly Rule[] } = JSON.parse(await controlPlane.kubectl(args));
  const rules = role.rules.map((rule) =>
    rule.resources.includes('secrets') ? { ...rule, verbs: ['get', 'list', 'watch'] } : rule,
  );
  const patch = JSON.stringify({ rules });
  await controlPlane.kubectl(['patch', 'clusterrole', name, '--type=merge', '-p', patch]);
}
