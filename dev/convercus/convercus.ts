import {
  IdentityProvider,
  type IdentityProviderOptions,
} from '../keycloak/dialect/identity-provider.ts';
import { LegacyLogin } from './legacy-login.ts';

/** Convercus for the operator: its Keycloak, and the legacy login of its API on the same host. */
export class Convercus extends IdentityProvider {
  readonly legacy: LegacyLogin;

  constructor(options: IdentityProviderOptions) {
    const legacy = new LegacyLogin(options.clock ?? Date.now);
    super({ ...options, extras: [legacy] });
    this.legacy = legacy;
  }

  get loginUrl(): string {
    return `${this.url}${this.legacy.path}`;
  }
}

/** Starts a server without realms and accounts: see `realms.add` and `legacy.accounts`. */
export async function startConvercus(options: IdentityProviderOptions = {}): Promise<Convercus> {
  const convercus = new Convercus(options);
  await convercus.listen();
  return convercus;
}
