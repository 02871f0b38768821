import { createLogger, format, transports } from 'winston';
import type { Log, LogFields } from '../lib/log.ts';

export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly format: 'json' | 'text';
  /** Standard output when absent. */
  readonly stream?: NodeJS.WritableStream;
}

interface Entry {
  readonly timestamp: string;
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** Writes one line for each entry, whatever characters are in it. */
export function createLog({ level, format: name, stream = process.stdout }: LogOptions): Log {
  const line = name === 'json' ? jsonLine : textLine;
  // winston gets the finished line, because it gives a meaning to fields of some names
  const logger = createLogger({
    level,
    format: format.printf(({ message }) => String(message)),
    transports: [new transports.Stream({ stream, eol: '\n' })],
  });
  const at =
    (level: string): Log['info'] =>
    (message, fields = {}) => {
      if (!logger.isLevelEnabled(level)) return;
      const timestamp = new Date().toISOString();
      logger.log(level, line({ timestamp, level, message, fields }));
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** The three usual names come first and are never replaced by a field. */
const jsonLine = ({ timestamp, level, message, fields }: Entry): string => {
  const usual = { timestamp, level, message };
  return escaped(JSON.stringify({ ...usual, ...fields, ...usual }));
};

const textLine = ({ timestamp, level, message, fields }: Entry): string => {
  const shown = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${quoted(String(value))}`);
  return escaped([timestamp, level.toUpperCase().padEnd(5), message, ...shown].join(' '));
};

const quoted = (value: string): string =>
  /^[^\s"=\\]+$/.test(value) ? value : JSON.stringify(value);

/** Characters that could start a line, move the cursor or turn the reading direction, in the notation of JSON. */
const escaped = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
      [...Array(character.length).keys()]
        .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
        .join(''),
    );
