import { describe, expect, it } from '@jest/globals';
import type { SecretMeta } from '../../src/credential/secret.ts';
import { sourceFault } from '../../src/credential/source-type.ts';
import { aMark } from '../support/builders.ts';

const META: SecretMeta = { uid: 'source-uid', resourceVersion: '1' };

const faultOf = (type: string, meta: Partial<SecretMeta> = {}) =>
  sourceFault({ meta: { ...META, ...meta }, type }, 'convercus-abc');

describe('a credentials Secret', () => {
  it.each([
    ['kubernetes.io/service-account-token', 'kubernetes.io/service-account-token'],
    ['kubernetes.io/tls', 'kubernetes.io/tls'],
    ['kubernetes.io/dockercfg', 'kubernetes.io/dockercfg'],
    ['kubernetes.io/dockerconfigjson', 'kubernetes.io/dockerconfigjson'],
    ['kubernetes.io/ssh-auth', 'kubernetes.io/ssh-auth'],
    ['bootstrap.kubernetes.io/token', 'bootstrap.kubernetes.io/*'],
    ['helm.sh/release.v1', 'helm.sh/*'],
    ['helm.sh/\u001b[31m', 'helm.sh/*'],
    ['convercus.io/session', 'convercus.io/*'],
    ['convercus.io/token', 'convercus.io/*'],
  ])('of the type %j is refused, which says so', (type, named) => {
    expect(faultOf(type)).toMatchObject({
      kind: 'InputInvalid',
      message: `Secret "convercus-abc" is of the type ${named}, which does not hold credentials for an identity provider; put them into a Secret of the type Opaque (kubectl create secret generic)`,
    });
  });

  it.each(['Opaque', 'kubernetes.io/basic-auth', 'example.com/login', 'my.helm.sh/x', ''])(
    'of the type %j is welcome',
    (type) => {
      expect(faultOf(type)).toBeUndefined();
    },
  );

  it.each<[string, Partial<SecretMeta>]>([
    ['the label of a target', { credentialName: 'other' }],
    ['the annotations of a token', { tokenAnnotations: aMark() }],
    ['the label of a session', { credentialName: 'other', isSession: true }],
  ])('with %s is refused as a target, whatever its type', (_, meta) => {
    for (const type of ['Opaque', 'convercus.io/token', 'kubernetes.io/tls']) {
      const fault = faultOf(type, meta);
      expect(fault?.kind).toBe('InputInvalid');
      expect(fault?.message).toContain('"convercus-abc" is the target of a ConvercusCredential');
    }
  });
});
