import { describe, expect, it } from '@jest/globals';
import { fromCronJob } from '../../src/cli/migrate/cron-job.ts';

const jobWith = (script: string): object => {
  const containers = [{ name: 'job', command: ['sh', '-c', script] }];
  return { spec: { jobTemplate: { spec: { template: { spec: { containers } } } } } };
};

describe('the Secret that a CronJob writes', () => {
  it.each([
    ['kubectl create secret generic loyalty-token --from-literal=token=$TOKEN'],
    ['kubectl -n shop create secret generic "loyalty-token" --from-file=token=/tmp/t'],
    [
      'kubectl --namespace shop create secret generic \\\n  loyalty-token \\\n  --from-file=token=/tmp/t',
    ],
    ['kubectl create secret generic --dry-run=client -o yaml loyalty-token | kubectl apply -f -'],
    [`kubectl patch secret loyalty-token -p '{"data":{}}'`],
    [`kubectl patch secret/loyalty-token -p '{"data":{}}'`],
    ['kubectl patch -n shop secrets loyalty-token --type=merge'],
    ['kubectl apply secret loyalty-token'],
    ['kubectl replace secret loyalty-token'],
    ['curl -X PATCH https://kubernetes.default.svc/api/v1/namespaces/shop/secrets/loyalty-token'],
    ['curl -X PATCH "$API/api/v1/namespaces/${NAMESPACE}/secrets/loyalty-token" -d @patch.json'],
    // What is read and said before
    ['S=$(kubectl get secret convercus-abc -o json)\nkubectl patch secret loyalty-token -p "$P"'],
    ['# the secret is rotated\nkubectl create secret generic loyalty-token --from-file=token=t'],
    [
      'T=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)\ncurl -X PATCH $API/api/v1/namespaces/shop/secrets/loyalty-token',
    ],
    [
      'kubectl create configmap seen; kubectl get secret convercus-abc; kubectl patch secret loyalty-token',
    ],
  ])('is found in %j', (script) => {
    expect(fromCronJob(jobWith(script)).secret).toBe('loyalty-token');
  });

  it.each([
    ['kubectl get secret convercus-abc -o json'],
    ['kubectl delete secret convercus-abc'],
    ['# the secret is rotated'],
    ['cat /var/run/secrets/kubernetes.io/serviceaccount/token'],
    ['kubectl create configmap seen; kubectl get secret convercus-abc'],
    ['kubectl apply -f token.yaml\nkubectl get secret convercus-abc'],
    ['kubectl create secret generic "$NAME" --from-file=token=t'],
    [''],
  ])('is not told by %j', (script) => {
    expect(fromCronJob(jobWith(script)).secret).toBeUndefined();
  });
});
