import { Resolver } from 'node:dns/promises';
import { expect, it } from '@jest/globals';
import { serveDns } from '../../dev/envtest/cluster/dns.ts';
import { freePorts } from '../../dev/envtest/server-process.ts';

it('the DNS of the test cluster knows its Services, and nothing else', async () => {
  const [port = 0] = await freePorts(1);
  const addresses = new Map([['shop/web', '10.96.0.7']]);
  const lookUp = async (namespace: string, service: string) =>
    addresses.get(`${namespace}/${service}`);
  const close = await serveDns('127.0.0.1', lookUp, port);
  const resolver = new Resolver({ timeout: 5_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${port}`]);
  try {
    expect(await resolver.resolve4('Web.shop.svc.cluster.local')).toEqual(['10.96.0.7']);
    await expect(resolver.resolve6('web.shop.svc.cluster.local')).rejects.toThrow('ENODATA');
    for (const unknown of ['other.shop.svc.cluster.local', 'web.shop', 'example.com']) {
      await expect(resolver.resolve4(unknown)).rejects.toThrow('ENOTFOUND');
    }
  } finally {
    close();
  }
});
