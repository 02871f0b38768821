/** Texts without what differs between two runs. */

/** @param hosts what to call the servers, by host and port */
export function sanitize(text: string, hosts: Readonly<Record<string, string>>): string {
  let result = text;
  for (const [host, name] of Object.entries(hosts)) result = result.replaceAll(host, name);
  return (
    result
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '<uid>')
      // In a table the columns behind it stay where they are
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z(?= {2,})/g, (time) =>
        '<time>'.padEnd(time.length),
      )
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>')
      .replaceAll(/"reconcileID":"[^"]*"/g, '"reconcileID":"<id>"')
      .replaceAll(/(timestamp_seconds\{.*\}) [\d.e+]+/g, '$1 <time>')
      .replaceAll(/(resource ?version"?: *"?)\d+/gi, '$1<version>')
      .replaceAll(/(renew(-requested-at| request): *)\d+/gi, '$1<time>')
      .replaceAll(/\b\d\d:\d\d:\d\dZ/g, '<time>')
      .replaceAll(/\b(\d+[smhd])+(?= (ago|left|old)\b)|(?<=\b(in|for) )(\d+[smhd])+\b/g, '<age>')
      // Ages in tables
      .replaceAll(/(?<!--wait) (\d+[smh])+( {2,}|$)/gm, (age) => ' <age>'.padEnd(age.length))
  );
}
