import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { exceptionsFor, proxyProblems } from '../../src/oauth/proxy.ts';
import { anEnvironment } from './lab.ts';

describe('the variables of the proxy', () => {
  it.each([
    ['', ''],
    ['http://proxy.test:3128', 'localhost,.svc,10.0.0.0/8 *.corp.test:8443'],
    ['https://user:p%40ss@proxy.test', 'fd00::/8,::1,[::1]:443,0.0.0.0/0'],
    ['HTTP://[::1]:3128/', '*'],
  ])('are fine as %j and %j', (https, except) => {
    expect(proxyProblems({ https, except })).toEqual([]);
  });

  it.each([
    'proxy.test:3128',
    'proxy',
    'socks5://proxy.test',
    'http://',
    'http://:canary@',
    'http://user:%zz@proxy.test',
    'http:proxy',
  ])('are refused when HTTPS_PROXY is %j, which is not repeated', (https) => {
    expect(proxyProblems({ https, except: '' })).toEqual([
      'HTTPS_PROXY is no http:// or https:// URL',
    ]);
  });

  it('are refused for each entry of NO_PROXY that is no address range, all at once', () => {
    const except =
      '10.0.0.0/33,10.0.0/8, fd00::/129,https://host.test,10.0.0.0/8,host.test/x,1/2/3';
    expect(proxyProblems({ https: 'nowhere', except })).toEqual([
      'HTTPS_PROXY is no http:// or https:// URL',
      ...['10.0.0.0/33', '10.0.0/8', 'fd00::/129', 'https://host.test', 'host.test/x', '1/2/3'].map(
        (entry) => `NO_PROXY holds "${entry}", which is no host, domain or address range`,
      ),
    ]);
  });

  it('are judged without an error, whatever they are', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (https, except) => {
        for (const problem of proxyProblems({ https, except })) {
          expect(problem).not.toMatch(/[\p{Cc}\p{Cf}]/u);
        }
      }),
    );
  });
});

describe('the hosts without a proxy', () => {
  const at = (tokenUrl: string, except: string) =>
    exceptionsFor(anEnvironment({ tokenUrl, loginUrl: 'https://192.0.2.9/login' }), except);

  it.each([
    ['https://10.1.2.3:8443/token', '10.0.0.0/8', '10.1.2.3'],
    ['https://10.1.2.3/token', '10.1.2.3/32', '10.1.2.3'],
    ['https://10.1.2.3/token', '10.200.0.7/8', '10.1.2.3'],
    ['https://11.1.2.3/token', '10.0.0.0/8', ''],
    ['https://10.1.2.3/token', '0.0.0.0/0', '10.1.2.3,192.0.2.9'],
    ['https://11.1.2.3/token', '10.0.0.0/8,192.0.2.0/24', '192.0.2.9'],
    ['https://[fd00::7]/token', 'fd00::/8', 'fd00::7'],
    ['https://[fd00::7]/token', '10.0.0.0/8', ''],
    ['https://auth.test/token', '10.0.0.0/8 .svc, localhost', '.svc,localhost'],
  ])('at %s with NO_PROXY %j are %j', (tokenUrl, except, expected) => {
    expect(at(tokenUrl, except)).toBe(expected);
  });

  it('are those whose first bits are the same, for any range', () => {
    const byte = fc.nat(255);
    const address = fc.tuple(byte, byte, byte, byte);
    const bitsOf = (bytes: readonly number[]) =>
      bytes.map((each) => each.toString(2).padStart(8, '0')).join('');
    fc.assert(
      fc.property(address, address, fc.integer({ min: 0, max: 32 }), (host, range, length) => {
        const environment = anEnvironment({ tokenUrl: `https://${host.join('.')}/token` });
        const isIn = bitsOf(host).slice(0, length) === bitsOf(range).slice(0, length);
        const except = `${range.join('.')}/${length}`;
        expect(exceptionsFor(environment, except)).toBe(isIn ? host.join('.') : '');
      }),
    );
  });
});
