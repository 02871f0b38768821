import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

/** Who owns a target Secret, and what happens to it. */
describe('the operator', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  it('brings a deleted target back and undoes an edit', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const text = await shop.token('loyalty-token');
    await shop.kubectl('delete', 'secret', 'loyalty-token');
    expect(
      await eventually(
        () => shop.file('loyalty-token'),
        (file) => file !== undefined,
      ),
    ).toBe(text);
    await shop.kubectl(
      'patch',
      'secret',
      'loyalty-token',
      '-p',
      '{"stringData":{"token":"rubbish"}}',
    );
    expect(
      await eventually(
        () => shop.file('loyalty-token'),
        (file) => file !== 'rubbish',
      ),
    ).toBe(text);
    await shop.kubectl('annotate', 'secret', 'loyalty-token', 'example.com/note=mine');
    await shop.kubectl('label', 'secret', 'loyalty-token', 'convercus.io/credential-');
    await eventually(
      async () =>
        (await shop.target('loyalty-token'))?.metadata.labels?.['convercus.io/credential'],
      (label) => label === 'loyalty',
    );
    const { metadata } = (await shop.target('loyalty-token')) ?? {};
    expect(metadata?.annotations?.['example.com/note']).toBe('mine');
    expect(metadata?.labels?.['convercus.io/credential']).toBe('loyalty');
    expect(shop.requests().length).toBe(1);
  });

  it('never touches a Secret that is not its own', async () => {
    const shop = await testbed.tenant();
    await shop.secret('loyalty-token', { password: 'theirs' });
    const before = (await shop.target('loyalty-token'))?.metadata.resourceVersion;
    await shop.credential('loyalty');
    const conditions = await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready !== undefined,
    );
    expect(conditions).toMatchObject({
      Ready: 'False/TargetNotOurs',
      Stalled: 'True/TargetNotOurs',
    });
    expect((await shop.target('loyalty-token'))?.metadata.resourceVersion).toBe(before);
    expect(shop.requests()).toHaveLength(1); // a target is created without a look
    await shop.kubectl('delete', 'secret', 'loyalty-token');
    await shop.ready('loyalty');
  });

  it('takes another name until a token was issued, and removes its target of the former name', async () => {
    const shop = await testbed.tenant();
    const rename = (name: string): Promise<string> =>
      shop.kubectl('patch', 'convcred', 'loyalty', '--type=merge', '-p', targetNamed(name));
    await shop.secret('taken', { password: 'theirs' });
    await shop.credential('loyalty', { target: { name: 'taken' } });
    await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready === 'False/TargetNotOurs',
    );
    await rename('free');
    await shop.ready('loyalty');
    await expect(rename('other')).rejects.toThrow("spec.target.name can't be changed");

    // As if the status of the first token had not been written
    const withoutToken = JSON.stringify({ status: { issuedAt: null } });
    const patch = ['patch', 'convcred', 'loyalty', '--subresource=status', '--type=merge'];
    await shop.kubectl(...patch, '-p', withoutToken);
    await rename('other');
    expect(
      await eventually(
        () => shop.file('other'),
        (file) => file !== undefined,
      ),
    ).toBeDefined();
    expect(await shop.target('free')).toBeUndefined();
    expect((await shop.target('taken'))?.type).toBe('Opaque');
  });

  const targetNamed = (name: string): string => JSON.stringify({ spec: { target: { name } } });

  it('lets one of two credentials have a target and tells the other', async () => {
    const shop = await testbed.tenant();
    await shop.credential('first', { target: { name: 'shared' } });
    await shop.ready('first');
    await shop.credential('second', { target: { name: 'shared' } });
    const conditions = await eventually(
      () => shop.conditions('second'),
      ({ Ready }) => Ready !== undefined,
    );
    expect(conditions).toMatchObject({ Ready: 'False/TargetNotOurs' });
    expect(await shop.message('second', 'Renewed')).toContain('ConvercusCredential "first"');
    expect(await shop.conditions('first')).toMatchObject({ Ready: 'True/TokenValid' });
    await shop.kubectl('delete', 'convcred', 'first');
    await shop.kubectl('delete', 'secret', 'shared'); // what the garbage collector does
    await shop.ready('second');
  });

  it('keeps a target with deletionPolicy Retain, and takes it up again under the same name', async () => {
    const shop = await testbed.tenant();
    const spec = { target: { deletionPolicy: 'Retain' as const } };
    await shop.credential('loyalty', spec);
    await shop.ready('loyalty');
    const before = await shop.target('loyalty-token');
    expect(before?.metadata.ownerReferences).toBeUndefined();
    await shop.kubectl('delete', 'convcred', 'loyalty');
    await shop.credential('loyalty', spec);
    await shop.ready('loyalty');
    expect((await shop.target('loyalty-token'))?.metadata.uid).toBe(before?.metadata.uid);
  });

  it('has let no secret and no token out of Secrets', async () => {
    expect(testbed.tokens.length).toBeGreaterThan(0);
    await expectNoLeaks(testbed);
  });
});
