import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The path of Chromium on this machine; undefined where it is not installed: tests that need it are skipped then. */
export const chromiumProgram: string | undefined = [
  ...(process.env['CHROMIUM'] === undefined ? [] : [process.env['CHROMIUM']]),
  ...(process.env['PATH'] ?? '').split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name))),
].find(isProgram);

/** A page that is open in Chromium, with its errors. */
export interface OpenPage {
  readonly page: Page;
  /** Errors of scripts, and violations of the Content-Security-Policy. */
  readonly complaints: string[];
  /** Requested URLs of other origins. */
  readonly foreign: string[];
}

/** A headless Chromium. It reaches this machine only: requests to other hosts get an answer of `answers`, or are refused. */
export class TestBrowser {
  readonly #browser: Browser;
  readonly #contexts: BrowserContext[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    const args = ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'];
    return new TestBrowser(await chromium.launch({ executablePath: chromiumProgram!, args, timeout: 60_000 }));
  }

  /**
   * A page in a profile of its own.
   *
   * @param origin that of the server
   * @param answers URL -> JavaScript with which other servers answer
   */
  async page(
    origin: string,
    { language = 'en', answers = {} }: { language?: string; answers?: Readonly<Record<string, string>> } = {},
  ): Promise<OpenPage> {
    const context = await this.#browser.newContext({ locale: language });
    context.setDefaultTimeout(60_000);
    this.#contexts.push(context);
    const [complaints, foreign]: [string[], string[]] = [[], []];
    await context.route(
      (url) => url.origin !== origin,
      async (route) => {
        const url = route.request().url();
        foreign.push(url);
        const body = Object.entries(answers).find(([start]) => url.startsWith(start))?.[1];
        await (body === undefined ? route.abort() : route.fulfill({ contentType: 'text/javascript', body }));
      },
    );
    const page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('console', (message) => {
      // Answers that are refusals are logged as errors, too; they are what a test asks for.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        complaints.push(message.text());
    });
    return { page, complaints, foreign };
  }

  async stop(): Promise<void> {
    for (const context of this.#contexts) await context.close();
    await this.#browser.close();
  }
}
