import { type Credential, parseClientSecret, sourceMissing } from '../domain/credential.ts';
import { type Failure, isFailure, retryAt } from '../domain/failure.ts';
import { markOf, type Need, type Observation, versionOf } from '../domain/plan.ts';
import type { TargetMark } from '../domain/secret.ts';
import type { Sensitive } from '../domain/sensitive.ts';
import { renderTarget } from '../domain/target-secret.ts';
import { type Ms, minutes } from '../domain/time.ts';
import type { Token, TokenRequest } from '../domain/token.ts';
import type { Clock, Cluster, ClusterView, PassContext, Random } from '../ports.ts';
import type { Subject } from './gather.ts';
import { isRefusal, type Refusal, type SharedTokens } from './shared-tokens.ts';

interface Ports {
  readonly view: ClusterView;
  readonly cluster: Cluster;
  readonly tokens: SharedTokens;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Published {
  readonly mark: TargetMark;
  readonly targetVersion: string;
}

/** How long somebody without any token waits for a turn before its status says why nothing happens. */
const PATIENCE = minutes(1);

/**
 * Source Secret → token → target Secret. Nothing is written unless a whole, valid target can be.
 * `superseded`: the credential has changed or gone while we waited for the token; its next pass decides anew.
 */
export async function publish(
  ports: Ports,
  subject: Subject,
  { seen, need }: { readonly seen: Observation; readonly need: Need },
  context: PassContext,
): Promise<Published | Refusal | 'superseded'> {
  const { credential, memory } = subject;
  const source = await presented(ports.cluster, subject, seen, context.signal);
  if (isFailure(source)) return refusal(ports, memory.failedRequests, source);
  const token = await obtain(
    ports,
    { credential, seen, need, clientSecret: source.clientSecret },
    context,
  );
  if (isSuperseded(ports.view, subject)) return 'superseded';
  if (isRefusal(token)) return token;
  const provenance = { sourceVersion: source.version, renewRequest: credential.renewRequest };
  const rendered = renderTarget(credential, token, provenance, seen.target);
  if (isFailure(rendered)) return refusal(ports, 0, rendered);
  const written = await ports.cluster.applySecret(rendered.secret, context.signal);
  if (isFailure(written)) return refusal(ports, memory.failedRequests, written);
  memory.intactVersion = written.resourceVersion;
  return { mark: rendered.mark, targetVersion: written.resourceVersion };
}

function isSuperseded(view: ClusterView, { resource: { metadata } }: Subject): boolean {
  const now = view.credential(`${metadata.namespace}/${metadata.name}`)?.metadata;
  const isSame = now?.uid === metadata.uid && now.generation === metadata.generation;
  return !isSame || now.deletionTimestamp !== undefined;
}

interface Presented {
  readonly version: string;
  readonly clientSecret: Sensitive;
}

/** The client secret, read again only when its Secret has changed since the last time. */
async function presented(
  cluster: Cluster,
  { credential, memory }: Subject,
  { source }: Observation,
  signal: AbortSignal,
): Promise<Presented | Failure> {
  const key = credential.source.keys.clientSecret;
  const known = memory.source?.key === key ? memory.source : undefined;
  if (typeof source === 'object' && known?.version === versionOf(source)) return known;
  const contents = await cluster.readSecret(credential.namespace, credential.source.name, signal);
  if (isFailure(contents)) return contents;
  if (contents === 'absent') return sourceMissing(credential);
  const clientSecret = parseClientSecret(contents, credential);
  if (isFailure(clientSecret)) return clientSecret;
  memory.source = { version: versionOf(contents.meta), key, clientSecret };
  return memory.source;
}

interface Asking {
  readonly credential: Credential;
  readonly seen: Observation;
  readonly need: Need;
  readonly clientSecret: Sensitive;
}

function obtain(
  { tokens, clock }: Ports,
  { credential, seen, need, clientSecret }: Asking,
  { parked, signal }: PassContext,
): Promise<Token | Refusal> {
  const now = clock.now();
  const expiresAt = markOf(seen)?.expiresAt ?? now;
  const patience: Ms = expiresAt > now ? Math.min(expiresAt - now, minutes(60)) : PATIENCE;
  const wish = {
    request: requestFor(credential, clientSecret),
    need,
    policy: credential.renewal,
    urgency: expiresAt,
    patience,
  };
  return parked(() => tokens.obtain(wish, signal));
}

const requestFor = (
  { grantType, environment, realm, tokenUrl, clientId, scope }: Credential,
  clientSecret: Sensitive,
): TokenRequest => ({
  grantType,
  environment: environment.name,
  realm,
  tokenUrl,
  clientId,
  scope,
  clientSecret,
});

const refusal = ({ clock, random }: Ports, failuresBefore: number, failure: Failure): Refusal => ({
  failure,
  retryAt: retryAt(failure, failuresBefore + 1, clock.now(), random()),
});
