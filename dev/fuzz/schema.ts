import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { ControlPlane } from '../envtest/control-plane.ts';

/** The CRD with a schema that allows any spec and status, as objects stored under another version might have. */

const ANY_OBJECT = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

/** @param crds the folder of both CRDs */
export async function installAnySchema(controlPlane: ControlPlane, crds: string): Promise<void> {
  const crd = join(crds, 'convercus.io_convercuscredentials.yaml');
  const definition = parse(await readFile(crd, 'utf8'));
  for (const version of definition.spec.versions) {
    version.schema.openAPIV3Schema = {
      type: 'object',
      properties: { spec: ANY_OBJECT, status: ANY_OBJECT },
    };
    delete version.selectableFields;
    delete version.additionalPrinterColumns;
  }
  const path = `${controlPlane.dir}/any-schema.yaml`;
  await writeFile(path, stringify(definition));
  await controlPlane.kubectl(['apply', '--server-side', '--force-conflicts', '-f', path]);
}
