import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { visitNodes } from '../dev/simulation/syntax.ts';

/** Names that are gone, with what to say. A name of several words may not occur in comments and texts either. */
const NAMES: Readonly<Record<string, string>> = {
  // The queue and the controller: client-go, controller-runtime
  KeySet: 'Set',
  MOST_PASSES: 'as many reconciles as workers',
  Pass: 'Reconcile',
  PassContext: 'the signal',
  PassResult: 'ReconcileResult',
  QuietTask: 'no idle task, garbage collection is up to V8',
  ReconcileContext: 'the signal',
  inWork: 'processing',
  lookAgain: 'requeueAt',
  lookAgainAt: 'requeueAt',
  lookAgainAtEarliest: 'earliestRequeue',
  onPass: 'onReconcile',
  passOf: 'reconcile',
  Seat: 'a running reconcile',
  Seats: 'running reconciles',
  Semaphore: 'running reconciles',
  onBug: 'onError',
  parked: 'Pending',
  regain: 'Pending',
  seat: 'a running reconcile',
  seats: 'running reconciles',
  tryAgainAt: 'retryAt',
  underWay: 'in flight',
  // The informer and the cache: kube-rs, client-go
  ClusterView: 'Lister',
  listEnded: 'initDone',
  listStarted: 'init',
  onProblem: 'onError',
  Problems: 'ErrorReporter',
  WatchProblem: 'WatchError',
  WatchSink: 'EventHandler',
  isNews: 'specOrAnnotationChanged',
  OwnWrites: 'the cache, which learns what was written',
  SessionKeys: 'the index of the cache',
  SharedParts: 'strings as they were parsed',
  inWordsOf: 'strings as they were parsed',
  asApplied: 'upgradeManagedFields',
  handOver: 'upgradeManagedFields',
  setBy: 'fieldOwnership',
  setterOf: 'fieldOwnership',
  // The Kubernetes client: client-go
  ApiAccess: 'RestConfig',
  Transport: 'RestClient',
  createTransport: 'createRestClient',
  // Requests and responses: RFC 9110, RFC 6749, oauth4webapi
  AskContext: 'the parts of a login request',
  CutAnswer: 'cut response',
  HttpAnswer: 'HttpResponse',
  LoginQuestion: 'the parts of a login request',
  Question: 'TokenRequestContext',
  Refusal: 'ErrorResponse, TokenFailure',
  RefusalKind: 'FailureKind',
  TokenQuestion: 'TokenRequestContext',
  WholeAnswer: 'WholeResponse',
  answerOf: 'response',
  failureFromAnswer: 'failureFromResponse',
  isAnswer: 'isResponse',
  isRefusal: 'isTokenFailure',
  readTokenAnswer: 'processTokenResponse',
  wholeAnswer: 'sendRequest',
  // The token client and its cache
  Cooldown: 'pausedUntil',
  HostBudgets: 'HostLimiters',
  HostQueue: 'HostLimiter',
  Hold: 'pausedUntil',
  LoginMemory: 'RejectedLogins',
  LoginPast: 'LoginHistory',
  Need: 'RequiredFreshness',
  Remembered: 'CachedFailure',
  RequestBudget: 'RequestLimiter',
  SessionWish: 'SessionDemand',
  SharedTokens: 'TokenClient',
  SlowDown: 'RateLimiter',
  Standing: 'CachedFailure',
  TokenBucket: 'RateLimiter, permits',
  TokenCache: 'TokenClient',
  TokenDesk: 'TokenClient',
  Turn: 'Ticket',
  UserTurns: 'UserLimiter',
  Wish: 'TokenDemand',
  desk: 'tokens',
  fromPast: 'cached failure',
  handedOn: 'cached failure',
  patience: 'maxWait',
  patiently: 'withTimeout',
  standing: 'cachedFailure',
  stillStands: 'isInForce',
  urgency: 'deadline',
  // Resilience4j
  Breaker: 'CircuitBreaker',
  restLeft: 'waitLeft',
  // The lock-out policy and the not-before policy: Keycloak
  LADDER: 'LOCKOUT_BACKOFF',
  Revocations: 'NotBeforePolicies',
  SHADOW_OF_REJECTION: 'LOCKOUT_WINDOW',
  Suspicion: 'LockoutEvidence',
  suspicion: 'lockoutEvidence',
  onRevoked: 'onNotBeforeRaised',
  voidBefore: 'validFrom',
  // Sessions and targets
  Memories: 'CredentialStates',
  Published: 'SyncedTarget',
  TargetMark: 'TokenAnnotations',
  conclude: 'update',
  heldBy: 'currentTokenOf',
  heldMark: 'currentToken',
  isEnd: 'isSessionOver',
  markOf: 'tokenAnnotations',
  readMark: 'parseTokenAnnotations',
  retired: 'supersededSessions',
  retires: 'supersedes',
  sweepSession: 'cleanUp',
  tryToPublish: 'sync',
  // Of no subject
  Around: 'the parts, each by its name',
  Concluding: 'ReconcileOutcome',
  ENOUGH: 'a constant with noun and unit',
  EVERY: 'a constant with noun and unit',
  Leftover: 'LeftoverSession',
  NOBODY: 'a constant that names its value',
  Recent: 'LruMap',
  Ports: 'Dependencies',
  Sight: 'Observation',
  WHY: 'a constant that names its values',
  asItIs: 'unchanged',
  isClusters: 'isClusterError',
  isWholeHosts: 'pausesRealm',
  presentable: 'sanitize',
  sight: 'seen',
  untold: 'a positive name',
};

/** Words that make an aphorism of a sentence, in comments and texts. The thing named comes first. */
const WORDS: Readonly<Record<string, string>> = {
  afresh: 'again',
  anew: 'again',
  lest: 'so that … not',
  nobody: 'no replica, no request, no user, …',
  somebody: 'a user, another replica, another controller, …',
  whoever: 'the replica that, the request that, …',
};

const ROOT = join(import.meta.dirname, '..');
/** Of another release, and this file. */
const LEFT_OUT = /^test\/(upgrade\/|words\.test\.ts$)/;

const files = ['src', 'test', 'dev']
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map(
      (file) => `${folder}/${file}`,
    ),
  )
  .filter((file) => file.endsWith('.ts') && !LEFT_OUT.test(file));

function problemsIn(source: string): string[] {
  const gone = [...namesIn(source)].filter((name) => Object.hasOwn(NAMES, name));
  const words = new Set((source.match(/[A-Za-z]+/g) ?? []).map((word) => word.toLowerCase()));
  return [
    ...gone.map((name) => `${name}: say ${NAMES[name]}`),
    ...[...words]
      .filter((word) => Object.hasOwn(WORDS, word))
      .map((word) => `${word}: say ${WORDS[word]}`),
  ];
}

/** Identifiers, and what can only be one wherever it stands: `lookAgainAt`, `MOST_PASSES`. */
function namesIn(source: string): Set<string> {
  const names = new Set(
    (source.match(/[\w$]+/g) ?? []).filter((word) => /[a-z][A-Z]|_/.test(word)),
  );
  visitNodes(source, (node: { readonly type?: string; readonly value?: unknown }) => {
    const isName = node.type === 'Identifier' || node.type === 'PrivateName';
    if (isName && typeof node.value === 'string') names.add(node.value);
  });
  return names;
}

describe('the words of the house', () => {
  const problems = files.flatMap((file) =>
    problemsIn(readFileSync(join(ROOT, file), 'utf8')).map((problem) => `${file}: ${problem}`),
  );

  it('are those of the field in names, and plain ones in comments', () => {
    expect(problems).toEqual([]);
  });

  it.each([
    ['const standing = 1;', ['standing: say cachedFailure']],
    ['class A { #standing = 1; }', ['standing: say cachedFailure']],
    ['type A = { standing: B };', ['standing: say cachedFailure']],
    ['// A standing order, standing\nconst outstanding = "standing";', []],
    ['/** See `TokenDesk`. */', ['TokenDesk: say TokenClient']],
    ["const text = 'LOCKOUT of TokenDesks';", []],
    ['// Nobody knows; nobodyKnows', [`nobody: say ${WORDS['nobody']}`]],
    ["it('starts anew');", ['anew: say again']],
    ["const text = 'that nobody expected';", [`nobody: say ${WORDS['nobody']}`]],
  ])('are looked for in %j', (source, problems) => {
    expect(problemsIn(source)).toEqual(problems);
  });
});
