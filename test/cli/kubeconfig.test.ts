import { describe, expect, it } from '@jest/globals';
import { Person } from './person.ts';

describe('kubectl convercus with a kubeconfig that can not be read', () => {
  it.each([[[]], [['--context', 'shop']]])('says so, with the flags %j', async (flags) => {
    const person = new Person({ kubeconfig: '/nowhere/kubeconfig' });
    const { code, err } = await person.cli('list', ...flags);
    expect(code).toBe(3);
    expect(err).toContain("The kubeconfig /nowhere/kubeconfig can't be read (ENOENT)");
  });
});
