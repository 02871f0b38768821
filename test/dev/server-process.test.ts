import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { freePorts } from '../../dev/envtest/server-process.ts';

/** The first port that Linux uses for outgoing connections. */
const firstOutgoing = async (): Promise<number> => {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '');
  return Number.parseInt(range, 10) || 32_768;
};

describe('free ports', () => {
  it('are different, and an outgoing connection can take none of them', async () => {
    const ports = await freePorts(20);
    expect(new Set(ports).size).toBe(20);
    expect(Math.max(...ports)).toBeLessThan(await firstOutgoing());
  });
});
