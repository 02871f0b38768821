import type { Environment, Environments } from '../../oauth/environment.ts';
import type { GrantType } from '../../oauth/grants.ts';

/** What a script or generator that requests tokens says. Nothing else of its text is kept. */
export interface Findings {
  readonly environment?: string;
  readonly program?: string;
  /** Only when it does not follow from the program. */
  readonly realm?: string;
  readonly grantType: GrantType;
  readonly clientId?: string;
  readonly scope?: string;
  /** The text has a client secret in it that is no variable. */
  readonly hasPlainSecret: boolean;
}

/** From any text: a shell script, a URL with a form, or JSON. */
export function findingsIn(text: string, environments: Environments): Findings {
  const parameter = (name: string): string | undefined =>
    new RegExp(`\\b${name}["']?\\s*[=:]\\s*["']?([\\w.:%+-]+)`).exec(text)?.[1];
  const clientId = parameter('client_id');
  const scope = parameter('scope')?.replaceAll(/%20|\+/g, ' ');
  return {
    ...placeOf(text, environments),
    grantType: parameter('grant_type') === 'password' ? 'password' : 'client_credentials',
    ...(clientId === undefined || clientId === DEFAULT_CLIENT ? {} : { clientId }),
    ...(scope === undefined ? {} : { scope }),
    hasPlainSecret: /\bclient_secret["']?\s*[=:]\s*["']?[\w.%+~-]{8,}/.test(text),
  };
}

const DEFAULT_CLIENT = 'machine-2-machine';

function placeOf(
  text: string,
  environments: Environments,
): Pick<Findings, 'environment' | 'program' | 'realm'> {
  for (const environment of environments.values()) {
    const realm = patternOf(environment.tokenUrl, '{realm}').exec(text)?.[1];
    if (realm !== undefined)
      return { environment: environment.name, ...programOf(environment, realm) };
  }
  return {};
}

/** `{program}-staging` tells the program of `abc-staging`. */
function programOf(
  { realm: pattern }: Environment,
  realm: string,
): Pick<Findings, 'program' | 'realm'> {
  const program = new RegExp(`^${patternOf(pattern, '{program}').source}$`).exec(realm)?.[1];
  return program === undefined ? { realm } : { program: program.toUpperCase() };
}

const patternOf = (pattern: string, placeholder: string): RegExp =>
  new RegExp(pattern.split(placeholder).map(literal).join('([\\w.-]+)'));

const literal = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
