/** What was on the terminal, as an SVG that plays it. Without animation it shows the end. */

const FONT_SIZE = 13;
const LINE_HEIGHT = 18;
/** Of a monospaced font, in parts of its size. */
const CHARACTER_WIDTH = 0.602;
const MARGIN = 16;
/** A longer pause, such as the start of a server, is cut to this. Milliseconds, as all times here. */
const LONGEST_PAUSE = 1_500;
/** How long the end is shown before it begins again. */
const LAST_PAUSE = 5_000;

/** Lines that are seen from a moment on, until another picture takes their place. */
interface Part {
  readonly from: number;
  to: number | undefined;
  readonly top: number;
  readonly text: string;
  readonly lines: readonly string[];
}

export class Recording {
  readonly #clock: () => number;
  readonly #parts: Part[] = [];
  #now = 0;
  #lastAt: number | undefined;
  #picture: Part | undefined;
  #bottom = 0;

  /** @param clock in milliseconds */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Text that stays. */
  line(text: string): void {
    this.#bottom += this.#picture?.lines.length ?? 0;
    this.#picture = undefined;
    this.#add(text);
    this.#bottom += this.#parts.at(-1)?.lines.length ?? 0;
  }

  /** Text that takes the place of the picture before. */
  show(picture: string): void {
    if (this.#picture?.text === picture) return;
    const at = this.#elapsed();
    if (this.#picture !== undefined) this.#picture.to = at;
    this.#picture = this.#add(picture);
  }

  svg(): string {
    const total = this.#elapsed() + LAST_PAUSE;
    const rows = Math.max(...this.#parts.map(({ top, lines }) => top + lines.length));
    const columns = Math.max(
      ...this.#parts.flatMap(({ lines }) => lines.map((line) => line.length)),
    );
    const width = Math.ceil(columns * FONT_SIZE * CHARACTER_WIDTH) + 2 * MARGIN;
    const height = rows * LINE_HEIGHT + 2 * MARGIN;
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">
<style>
text { font: ${FONT_SIZE}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d8dee9; white-space: pre }
.good { fill: #a3be8c } .bad { fill: #e06c75 }
@media (prefers-reduced-motion: no-preference) { g { animation: ${total}ms step-end infinite } }
${this.#parts.map((part, index) => keyframes(part, index, total)).join('\n')}
</style>
<rect width="100%" height="100%" rx="8" fill="#1e222a"/>
${this.#parts.map(group).join('\n')}
</svg>
`;
  }

  #add(text: string): Part {
    const part = {
      from: this.#elapsed(),
      to: undefined,
      top: this.#bottom,
      text,
      lines: text.replace(/\n$/, '').split('\n').map(shown),
    };
    this.#parts.push(part);
    return part;
  }

  /** Since the first line, without long pauses. */
  #elapsed(): number {
    const at = this.#clock();
    this.#now += Math.min(at - (this.#lastAt ?? at), LONGEST_PAUSE);
    this.#lastAt = at;
    return Math.round(this.#now);
  }
}

/** Folders of this machine are no one else's business: a temporary one loses its random end. */
const shown = (line: string): string =>
  line.replace(/\S*\/(convercus-demo)-\w+/g, '/tmp/$1').replaceAll(process.env['HOME'] || '~', '~');

function keyframes({ from, to }: Part, index: number, total: number): string {
  const percent = (time: number): string => `${((100 * time) / total).toFixed(2)}%`;
  const seen = `${percent(from)} { visibility: visible }`;
  const gone = to === undefined ? '' : ` ${percent(to)} { visibility: hidden }`;
  const before = from === 0 ? '' : '0% { visibility: hidden } ';
  const still = to === undefined ? '' : `#p${index} { visibility: hidden } `;
  return `${still}#p${index} { animation-name: k${index} } @keyframes k${index} { ${before}${seen}${gone} }`;
}

function group({ top, lines }: Part, index: number): string {
  const texts = lines.map((line, at) => {
    const y = MARGIN + (top + at) * LINE_HEIGHT + FONT_SIZE;
    return line === ''
      ? ''
      : `<text x="${MARGIN}" y="${y}" xml:space="preserve">${coloured(line)}</text>`;
  });
  return `<g id="p${index}">${texts.join('')}</g>`;
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

const coloured = (line: string): string =>
  line
    .replace(/[&<>]/g, (character) => ESCAPES[character] ?? '')
    .replace(/\b(?:True|TokenValid|Issued|RenewedOnSchedule)\b/g, '<tspan class="good">$&</tspan>')
    .replace(/\b(?:False|ClientSecretRejected)\b/g, '<tspan class="bad">$&</tspan>');
