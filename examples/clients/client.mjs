// Calls the API for each path on standard input, and prints the status.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';

const { API_URL, TOKEN_FILE = '/var/run/convercus/token' } = process.env;

async function send(path) {
  const token = await readFile(TOKEN_FILE, 'utf8'); // for each request: the file is replaced
  return fetch(API_URL + path, { headers: { authorization: `Bearer ${token}` } });
}

async function call(path) {
  const response = await send(path);
  if (response.status !== 401) return response;
  await response.body?.cancel();
  return send(path); // once, with the file as it is now
}

for await (const path of createInterface({ input: process.stdin })) {
  console.log((await call(path)).status);
}
