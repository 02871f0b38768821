import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { freePorts } from '../../dev/envtest/server-process.ts';

/** From which port on Linux gives ports to outgoing connections. */
const firstOutgoing = async (): Promise<number> => {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '');
  return Number.parseInt(range, 10) || 32_768;
};

describe('free ports', () => {
  it('are different ones, none of which an outgoing connection may take meanwhile', async () => {
    const ports = await freePorts(20);
    expect(new Set(ports).size).toBe(20);
    expect(Math.max(...ports)).toBeLessThan(await firstOutgoing());
  });
});
