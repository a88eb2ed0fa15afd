/** Generator of Japanese text with a Zipf-like word distribution, and place names of known frequency. */
export class Chatter {
  #seed: number;
  readonly #words: readonly string[];

  constructor(seed: number) {
    this.#seed = seed;
    const kanji = Array.from({ length: 900 }, () => String.fromCodePoint(0x4e00 + this.#below(0x3000)));
    const kana = Array.from({ length: 46 }, (_, i) => String.fromCodePoint(0x3042 + i));
    this.#words = Array.from({ length: 6_000 }, (_, i) => {
      const from = i % 4 === 0 ? kana : kanji;
      return Array.from({ length: 2 + this.#below(2) }, () => from[this.#below(from.length)]).join('');
    });
  }

  /** A whole number from 0 on, below `limit`: the same ones in every run. */
  #below(limit: number): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#seed / 2 ** 32) * limit);
  }

  /** About 22 characters; 東京 in a fifth of them, 大阪 in one of 50, 鎌倉 in one of 2 000. */
  sentence(): string {
    const particles = ['は', 'が', 'を', 'に', 'で', 'と', 'も', 'の'];
    let text = '';
    const parts = 4 + this.#below(5);
    const landmark = this.#below(2_000);
    const place = landmark === 0 ? '鎌倉' : landmark < 40 ? '大阪' : landmark < 440 ? '東京' : '';
    const at = this.#below(parts);
    for (let i = 0; i < parts; i += 1) {
      const rank = Math.floor(this.#words.length ** (this.#below(10_000) / 10_000)) - 1;
      text += i === at && place !== '' ? place : this.#words[rank];
      text += particles[this.#below(particles.length)];
    }
    return `${text}。`;
  }
}
