import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Notes each socket that undici connects from now on, without keeping it in memory. */
export function undiciSockets() {
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  const sockets: WeakRef<object>[] = [];
  const note = (message: unknown): void => {
    const socket: unknown = Reflect.get(Object(message), 'socket');
    sockets.push(new WeakRef(Object(socket)));
  };
  subscribe('undici:client:connected', note);
  return {
    connected: () => sockets.length,
    async inMemory(): Promise<number> {
      for (let turns = 0; turns < 4; turns += 1) {
        await turn();
        collectGarbage();
      }
      return sockets.filter((socket) => socket.deref() !== undefined).length;
    },
    [Symbol.dispose]: () => void unsubscribe('undici:client:connected', note),
  };
}
