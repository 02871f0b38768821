import { stringify } from 'yaml';
import { API_VERSION, KIND } from '../credential/target-secret.ts';
import type { GrantType } from '../oauth/grants.ts';

/** What a new credential is to say; absent fields keep their defaults. */
export interface Draft {
  readonly namespace: string;
  readonly name: string;
  readonly program: string;
  readonly environment: string;
  readonly grantType: GrantType;
  readonly clientId?: string | undefined;
  readonly scope?: string | undefined;
  readonly realm?: string | undefined;
  readonly source: { readonly name: string; readonly clientSecretKey?: string | undefined };
  readonly target?: { readonly name?: string; readonly data?: Readonly<Record<string, string>> };
}

export function specOf(draft: Draft): object {
  const { program, environment, grantType, clientId, scope, realm, source, target } = draft;
  const { name, clientSecretKey } = source;
  return {
    program,
    environment,
    ...(grantType === 'client_credentials' ? {} : { grantType }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(scope === undefined ? {} : { scope }),
    ...(realm === undefined ? {} : { realm }),
    credentialsSecretRef: {
      name,
      ...(clientSecretKey === undefined ? {} : { keys: { clientSecret: clientSecretKey } }),
    },
    ...(target === undefined ? {} : { target }),
  };
}

export const manifestOf = (draft: Draft): object => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata: { name: draft.name, namespace: draft.namespace },
  spec: specOf(draft),
});

export const yamlOf = (draft: Draft): string => stringify(manifestOf(draft), { lineWidth: 0 });
